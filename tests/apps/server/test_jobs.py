"""/v1/fine_tuning/jobs through the official client, against workers that really train."""

import base64
import csv
import io
import json
import os
import signal
import subprocess
import time

import openai
import pytest
from safetensors.numpy import load_file

from chains.models import registry
from tests import tiny
from tests.apps.server import live
from tuning import sft

ROWS = [tiny.chat(f"What is {n}?", f"It is {n}.") for n in range(12)]


@pytest.fixture(scope="module")
def running(server_home):
    with live.serving(jobs=True) as (url, app):
        yield live.client(url), app


@pytest.fixture(scope="module")
def data():
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def upload(client, body):
    return client.files.create(file=("train.jsonl", body), purpose="fine-tune").id


def ended(client, job, wanted=("succeeded", "failed", "cancelled"), seconds=240):
    until(lambda: client.fine_tuning.jobs.retrieve(job.id).status in wanted, seconds)
    return client.fine_tuning.jobs.retrieve(job.id)


def until(met, seconds=240):
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.1)


def metrics(client, job):
    """The steps that a job has told, newest first."""
    events = client.fine_tuning.jobs.list_events(job.id, limit=1000)
    return [event for event in events.data if event.type == "metrics"]


def stepped(client, job):
    """Wait until a job has done a step."""
    until(lambda: metrics(client, job))


def workers(job):
    found = subprocess.run(["pgrep", "-f", f"apps.server.worker {job.id}"], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def weights(name):
    return load_file(registry.folder(name) / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)


def test_from_a_file_to_a_model_that_chats_and_is_deleted(running, data, tmp_path):
    client, _ = running
    train, valid = upload(client, data), upload(client, data)
    job = client.fine_tuning.jobs.create(
        model="starter", training_file=train, validation_file=valid, suffix="hobanne", seed=5, metadata={"k": "v"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}},
    )  # fmt: skip
    assert job.status == "validating_files" and job.fine_tuned_model is None
    with pytest.raises(openai.BadRequestError):
        client.files.delete(train)
    done = ended(client, job)
    assert done.status == "succeeded", done.error
    assert done.fine_tuned_model.startswith("ft:starter:local:hobanne:") and done.trained_tokens > 100
    assert done.hyperparameters.learning_rate_multiplier == 1.0 and done.metadata == {"k": "v"}
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=2))  # several pages
    said = [event.message for event in reversed(events)]
    order = [f"Created fine-tuning job: {job.id}", f"Validating training file: {train}",
             "Files validated, moving job to queued state", "Fine-tuning job started"]  # fmt: skip
    assert said[:4] == order
    assert said[4].startswith("Step 1/6: training loss=") and "Checkpoint created at step 3" in said
    assert said[-2:] == [f"New fine-tuned model created: {done.fine_tuned_model}", "The job has successfully completed"]
    metrics = [event.data for event in reversed(events) if event.type == "metrics"]
    assert [each["step"] for each in metrics] == [1, 2, 3, 4, 5, 6] and metrics[2]["full_valid_loss"] > 0
    lines = list(csv.reader(io.StringIO(base64.b64decode(client.files.content(done.result_files[0]).read()).decode())))
    assert lines[0][:2] == ["step", "train_loss"] and len(lines) == 7
    raw = client.files.content(done.result_files[0], extra_query={"raw": True}).text
    assert list(csv.reader(io.StringIO(raw))) == lines
    assert client.files.content(train, extra_query={"raw": True}).read() == data  # what is no result is as it came
    assert float(lines[1][1]) == pytest.approx(metrics[0]["train_loss"])
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert checkpoint.step_number == 3 and checkpoint.fine_tuned_model_checkpoint.endswith(":ckpt-step-3")
    for name in (done.fine_tuned_model, checkpoint.fine_tuned_model_checkpoint):
        ask = [{"role": "user", "content": "What is 3?"}]
        assert client.chat.completions.create(model=name, messages=ask, max_tokens=2).usage.completion_tokens
    path = tiny.write(tmp_path / "same.jsonl", ROWS)  # the command line's training: the same code, the same weights
    config = sft.Config(model="starter", data=path, validation=path, suffix="hobanne", seed=5, epochs=2.0, batch_size=4)
    assert same(weights(sft.train(config).name), weights(done.fine_tuned_model))
    assert client.models.delete(done.fine_tuned_model).deleted
    assert [j.id for j in client.fine_tuning.jobs.list(limit=1)][-1] == job.id
    assert [j.id for j in client.fine_tuning.jobs.list(extra_query={"metadata[k]": "other"})] == []
    with pytest.raises(openai.BadRequestError):  # not 409, which the client would try again
        client.fine_tuning.jobs.cancel(job.id)


def test_a_worker_that_is_killed_and_a_job_that_is_paused_end_with_the_same_weights(running, data):
    client, _ = running
    ask = {"model": "starter", "training_file": upload(client, data), "seed": 1, "suffix": "kill",
           "hyperparameters": {"n_epochs": 6, "batch_size": 2}}  # fmt: skip
    job = client.fine_tuning.jobs.create(**ask)
    stepped(client, job)
    (pid,) = workers(job)
    os.kill(pid, signal.SIGKILL)
    done = len(metrics(client, job))
    until(lambda: len(metrics(client, job)) > done)  # another worker goes on
    assert client.fine_tuning.jobs.pause(job.id).status in ("running", "paused")
    assert ended(client, job, ("paused", "succeeded")).status == "paused"
    until(lambda: not workers(job))
    client.fine_tuning.jobs.resume(job.id)
    done = ended(client, job)
    assert done.status == "succeeded", done.error
    assert len(list(client.fine_tuning.jobs.checkpoints.list(job.id))) == 3  # the last ones
    straight = ended(client, client.fine_tuning.jobs.create(**ask))
    assert same(weights(done.fine_tuned_model), weights(straight.fine_tuned_model))


def test_a_job_is_cancelled_while_it_waits_and_while_it_runs(running, data):
    client, _ = running
    ask = {
        "model": "starter",
        "training_file": upload(client, data),
        "hyperparameters": {"n_epochs": 50, "batch_size": 1},
    }
    first, second = (client.fine_tuning.jobs.create(**ask) for _ in range(2))
    assert client.fine_tuning.jobs.cancel(second.id).status == "cancelled"
    stepped(client, first)
    client.fine_tuning.jobs.cancel(first.id)
    done = ended(client, first)
    assert (done.status, done.fine_tuned_model) == ("cancelled", None)


BAD_FILES = {
    "too few": (b"".join(json.dumps(r).encode() + b"\n" for r in ROWS[:9]), "invalid_n_examples", "9 example"),
    "a role": (b"".join(json.dumps(r).encode().replace(b'"user"', b'"bot"' if i == 6 else b'"user"') + b"\n" for i, r in enumerate(ROWS)),
               "invalid_training_file", "train.jsonl:7"),
    "no chats": (b'{"text": "x"}\n' * 12, "invalid_training_file", "chat messages"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_cannot_be_trained_on_fails_the_job_by_line(running, kind):
    client, _ = running
    body, code, said = BAD_FILES[kind]
    job = client.fine_tuning.jobs.create(model="starter", training_file=upload(client, body))
    done = ended(client, job)
    assert (done.status, done.error.code, done.error.param) == ("failed", code, "training_file")
    assert said in done.error.message and str(registry.folder("x").parent.parent) not in done.error.message


@pytest.mark.parametrize("change", [
    {"training_file": "file-none"}, {"suffix": "No Good!"}, {"method": {"type": "magic"}}, {"seed": -1},
    {"hyperparameters": {"n_epochs": 99}}, {"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]},
])  # fmt: skip
def test_a_job_that_cannot_be_is_refused_at_once(running, data, change):
    client, _ = running
    with pytest.raises(openai.BadRequestError):
        client.fine_tuning.jobs.create(**{"model": "starter", "training_file": upload(client, data), **change})
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.retrieve("ftjob-none")
