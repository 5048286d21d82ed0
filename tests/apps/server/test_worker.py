"""The worker, without a server around it: stopped anywhere, it goes on and ends with the weights of a run that nobody disturbed."""

import io
import json

import pytest
from safetensors.numpy import load_file

from apps.server import files, queue, worker
from apps.server.database import Database
from chains.models import registry
from tests import tiny
from tuning import loop, sft

ROWS = [tiny.chat(f"What is {n}?", f"It is {n}.") for n in range(12)]


class Killed(BaseException):
    """What nothing in the worker catches, as nothing catches a kill -9."""


@pytest.fixture
def job(home):
    tiny.starter(architecture="llama")
    db = Database()
    body = io.BytesIO("".join(json.dumps(row) + "\n" for row in ROWS).encode())
    file = files.add(db, "", "train.jsonl", "fine-tune", body)
    return db, queue.create(
        db, "", "starter", file["id"], None, "k", 3, queue.Method("supervised", {"n_epochs": 5, "batch_size": 4}), None
    )["id"]


def steps(db, job_id):
    found = [json.loads(row["data"])["step"] for row in queue.events(db, job_id) if row["type"] == "metrics"]
    return found[::-1]


def weights(name):
    return load_file(registry.folder(name) / "model.safetensors")


def test_a_worker_stopped_anywhere_ends_with_the_same_weights(job, monkeypatch, tmp_path):
    db, job_id = job
    monkeypatch.setattr(loop, "CHECKPOINT_S", -1.0)  # a checkpoint after every step
    obey = worker._obey

    def killed(db, job_id):
        obey(db, job_id)
        if len(steps(db, job_id)) in (4, 9):
            queue.event(db, job_id, "killed", {"step": 0})
            raise Killed

    monkeypatch.setattr(worker, "_obey", killed)
    for _ in range(2):
        with pytest.raises(Killed):
            worker.work(db, job_id)
        assert queue.get(db, job_id)["status"] == "running"
    queue.pause(db, job_id)
    queue.resume(db, job_id)
    assert queue.next_job(db) == job_id
    worker.work(db, job_id)
    row = queue.get(db, job_id)
    assert row["status"] == "succeeded", row["error"]
    seen = [step for step in steps(db, job_id) if step]
    assert len(seen) < 30 and set(seen) == set(range(1, 16))  # it went on, and did not begin again
    assert [entry["step"] for entry in queue.checkpoints(db, job_id)] == [12, 9, 6]
    path = tiny.write(tmp_path / "same.jsonl", ROWS)
    straight = sft.train(sft.Config(model="starter", data=path, suffix="k", seed=3, epochs=5.0, batch_size=4)).name
    one, other = weights(straight), weights(row["result_name"])
    assert one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)


def test_a_model_that_was_published_before_the_kill_is_not_made_twice(job, monkeypatch):
    db, job_id = job

    def killed(*given):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_succeed", killed)
        with pytest.raises(Killed):
            worker.work(db, job_id)
    name, done = queue.get(db, job_id)["result_name"], len(steps(db, job_id))
    assert registry.find(name)
    worker.work(db, job_id)
    assert queue.get(db, job_id)["status"] == "succeeded" and len(steps(db, job_id)) == done


def test_a_cancelled_job_leaves_no_checkpoints(job, home, monkeypatch):
    db, job_id = job
    monkeypatch.setattr(loop, "CHECKPOINT_S", -1.0)
    report = worker._report

    def wanted(db, job_id, at):
        if at.step == 3:
            queue.cancel(db, job_id)
        report(db, job_id, at)

    monkeypatch.setattr(worker, "_report", wanted)
    worker.work(db, job_id)
    assert queue.get(db, job_id)["status"] == "cancelled" and max(steps(db, job_id)) == 3
    assert not list((home / "work").glob("sft-*"))
