"""DPO and reinforcement jobs: the same stages as the command line's, files checked by line, and stopped anywhere they end the same."""

import io
import json

import openai
import pytest
from safetensors.numpy import load_file

from apps.server import files, methods, queue, reinforcement, worker
from apps.server.database import Database
from chains.models import registry
from tests import tiny
from tests.apps.server import live
from tuning import dpo, loop, sft

QUESTIONS = [f"What is {n}?" for n in range(10)]
CHECK = {
    "type": "string_check",
    "name": "e",
    "input": "{{sample.output_text}}",
    "reference": "{{item.letter}}",
    "operation": "like",
}
NUMBERS = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}


def preference(question, better="Yes, please.", worse="No."):
    said = [[{"role": "assistant", "content": text}] for text in (better, worse)]
    asked = {"messages": [{"role": "user", "content": question}]}
    return {"input": asked, "preferred_output": said[0], "non_preferred_output": said[1]}


def prompt(question, **item):
    return {"messages": [{"role": "user", "content": question}], **({"letter": "e"} | item)}


PREFERENCES = [preference(question) for question in QUESTIONS]
PROMPTS = [prompt(question) for question in QUESTIONS]


@pytest.fixture
def db(home):
    tiny.starter(architecture="llama")
    return Database()


def create(db, method, rows, validation=None, seed=3):
    def kept(rows):
        body = io.BytesIO("".join(json.dumps(row) + "\n" if row else "\n" for row in rows).encode())
        return files.add(db, "", "train.jsonl", "fine-tune", body)["id"]

    held = kept(validation) if validation else None
    return queue.create(db, "", "starter", kept(rows), held, "k", seed, method, None)["id"]


def done(db, job_id, status="succeeded"):
    worker.work(db, job_id)
    row = queue.get(db, job_id)
    assert row["status"] == status, row["error"]
    return row


def weights(name):
    return load_file(registry.folder(name) / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)


PREFER = queue.Method("dpo", {**NUMBERS, "beta": 0.3})


def reinforce(**numbers):
    given = {**NUMBERS, "compute_multiplier": 0.5, "eval_interval": 2, "eval_samples": 2, "max_tokens": 8}
    return queue.Method("reinforcement", {**given, **numbers}, CHECK)


def test_a_dpo_job_is_the_command_lines_training(db, tmp_path):
    row = done(db, create(db, PREFER, PREFERENCES, PREFERENCES[:3]))
    rankings = [tiny.ranking(question, ["Yes, please.", "No."], [1, 2]) for question in QUESTIONS]
    config = dpo.Config(
        model="starter", data=tiny.write(tmp_path / "r.jsonl", rankings), validation=tiny.write(tmp_path / "v.jsonl", rankings[:3]),
        suffix="k", seed=3, epochs=2.0, batch_size=4, beta=0.3,
    )  # fmt: skip
    assert same(weights(dpo.train(config).name), weights(row["result_name"]))
    (checkpoint,) = queue.checkpoints(db, row["id"])
    assert (
        checkpoint["step"] == 3
        and {"full_valid_loss", "valid_pair_accuracy"} <= json.loads(checkpoint["metrics"]).keys()
    )
    assert registry.find(checkpoint["model"]).meta["method"] == "dpo"
    shown = queue.as_json(row)["method"]
    assert shown == {"type": "dpo", "dpo": {"hyperparameters": {**NUMBERS, "beta": 0.3}}}
    assert not list(methods.home().glob("jobs/*.jsonl"))


@pytest.mark.parametrize("kind", ["dpo", "reinforcement"])
def test_a_job_killed_anywhere_ends_with_the_same_weights(db, monkeypatch, kind):
    method, rows = (PREFER, PREFERENCES) if kind == "dpo" else (reinforce(), PROMPTS)
    straight = weights(done(db, create(db, method, rows, rows[:3]))["result_name"])
    monkeypatch.setattr(loop, "CHECKPOINT_S", -1.0)
    job_id, report, left = create(db, method, rows, rows[:3]), worker._report, [4, 2]

    class Killed(BaseException):
        pass

    def killed(db, job_id, at):
        report(db, job_id, at)
        if left and at.step >= left[-1]:
            left.pop()
            raise Killed

    monkeypatch.setattr(worker, "_report", killed)
    for _ in range(2):
        with pytest.raises(Killed):
            worker.work(db, job_id)
    assert same(weights(done(db, job_id)["result_name"]), straight)
    told = [json.loads(row["data"])["step"] for row in queue.events(db, job_id) if row["type"] == "metrics"]
    assert sorted(set(told)) == [1, 2, 3, 4, 5, 6] and len(told) < 12  # it went on


def test_a_reinforcement_job_learns_what_its_grader_rewards(db):
    numbers = {
        "n_epochs": 10,
        "batch_size": 10,
        "learning_rate_multiplier": 20.0,
        "compute_multiplier": 1.0,
        "eval_interval": 5,
    }
    row = done(db, create(db, reinforce(**numbers), PROMPTS, PROMPTS[:4]))
    events = [json.loads(event["data"]) for event in queue.events(db, row["id"])[::-1] if event["type"] == "metrics"]
    rewards = [event["train_reward_mean"] for event in events]
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.5, rewards
    assert [event["step"] for event in events if "valid_reward_mean" in event] == [5, 10]
    assert {event["grader_errors"] for event in events} == {0.0}


def test_a_grader_that_can_grade_nothing_fails_the_job_and_half_an_answer_does_not(db, monkeypatch):
    monkeypatch.setenv(reinforcement.PYTHON_GRADERS, "1")
    numbers = {**reinforce().hyperparameters, "n_epochs": 1, "batch_size": 2, "compute_multiplier": 0.25}
    broken = {"type": "python", "name": "p", "source": "def grade(sample, item): return item['none']"}
    row = done(db, create(db, queue.Method("reinforcement", numbers, broken), PROMPTS), "failed")
    said = json.loads(row["error"])["message"]
    assert "could grade none of 4 answers: KeyError: 'none'" in said and "step" not in said
    no_json = {**CHECK, "input": "{{sample.output_json.a}}"}
    done(db, create(db, queue.Method("reinforcement", numbers, no_json), PROMPTS))


def test_auto_is_decided_from_the_data(db):
    auto = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier", "beta"), "auto")
    job = queue.get(db, create(db, queue.Method("dpo", auto), PREFERENCES))
    worker._validate(db, job)
    found = json.loads(queue.get(db, job["id"])["hyperparameters"])
    assert found == {"n_epochs": 10, "batch_size": 1, "learning_rate_multiplier": 1.0, "beta": 0.1}


BAD = {
    "chats for dpo": (PREFER, [tiny.chat(q, "x") for q in QUESTIONS], "the dpo method takes preferences"),
    "chats for reinforcement": (reinforce(), [tiny.chat(q, "x") for q in QUESTIONS], "the reinforcement method takes prompts"),
    "preferences for sft": (queue.Method("supervised", NUMBERS), PREFERENCES, "the supervised method takes chat messages"),
    "an empty answer": (PREFER, [*PREFERENCES[:4], None, preference("Hm?", " "), *PREFERENCES[4:]], "train.jsonl:6"),
    "no field for the grader": (reinforce(), [*PROMPTS[:6], None, {**prompt("x"), "letter": None}, *PROMPTS[6:]],
                                "train.jsonl:8: the grader's {{item.letter}} is not there"),
    "tools": (reinforce(), [*PROMPTS, prompt("x", tools=[{"type": "function", "function": {"name": "f"}}])], "train.jsonl:11: tools are not"),
    "too long a prompt": (PREFER, [*PREFERENCES, None, preference("word " * 90)], "train.jsonl:12"),
    "too few": (PREFER, PREFERENCES[:9], "9 example"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_a_method_cannot_use_fails_the_job_by_line(db, kind):
    method, rows, said = BAD[kind]
    row = done(db, create(db, method, rows), "failed")
    assert said in json.loads(row["error"])["message"] and str(methods.home()) not in row["error"]


def test_a_legacy_file_of_prompts_and_completions_is_learned_as_chats(db, tmp_path):
    rows = [{"prompt": question, "completion": "It is."} for question in QUESTIONS]
    row = done(db, create(db, queue.Method("supervised", NUMBERS), rows))
    path = tiny.write(tmp_path / "same.jsonl", [tiny.chat(question, "It is.") for question in QUESTIONS])
    straight = sft.train(sft.Config(model="starter", data=path, suffix="k", seed=3, epochs=2.0, batch_size=4))
    assert same(weights(straight.name), weights(row["result_name"]))


REFUSED = [
    ({"type": "reinforcement"}, "grader"), ({"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}, "beta"),
    ({"type": "dpo", "supervised": {}}, "leave it out"), ({"type": "reinforcement", "reinforcement": {"grader": {**CHECK, "operation": 1}}}, "operation"),
    ({"type": "reinforcement", "reinforcement": {"grader": CHECK, "hyperparameters": {"reasoning_effort": "high"}}}, "reasoning_effort"),
    ({"type": "reinforcement", "reinforcement": {"grader": {"type": "python", "name": "p", "source": "x"}}}, "python-graders"),
]  # fmt: skip


@pytest.fixture(scope="module")
def running(server_home):
    with live.serving(jobs=True) as (url, _):
        yield live.client(url)


@pytest.mark.parametrize(("method", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_method_that_cannot_be_is_refused_at_once(running, method, said):
    with pytest.raises(openai.BadRequestError, match=said):
        running.fine_tuning.jobs.create(model="starter", training_file="file-x", method=method)


def test_both_methods_through_the_official_client(running):
    from tests.apps.server.test_jobs import ended

    def upload(rows):
        body = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return running.files.create(file=("t.jsonl", body), purpose="fine-tune").id

    grader = {"type": "multi", "name": "m", "graders": {"e": CHECK}, "calculate_output": "2 * e"}
    numbers = {"n_epochs": 2, "batch_size": 5, "max_tokens": 4}
    asked = [
        (PREFERENCES, {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 2}}}),
        (PROMPTS, {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": numbers}}),
    ]
    jobs = [
        running.fine_tuning.jobs.create(model="starter", training_file=upload(rows), method=method)
        for rows, method in asked
    ]
    for job, kind in zip(jobs, ("dpo", "reinforcement"), strict=True):
        found = ended(running, job)
        assert found.status == "succeeded" and found.method.type == kind, found.error
        (checkpoint,) = running.fine_tuning.jobs.checkpoints.list(job.id)
        for name in (found.fine_tuned_model, checkpoint.fine_tuned_model_checkpoint):
            ask = [{"role": "user", "content": "Hi"}]
            assert running.chat.completions.create(model=name, messages=ask, max_tokens=2).choices
        assert running.files.content(found.result_files[0]).read()
    assert running.fine_tuning.jobs.retrieve(jobs[1].id).method.reinforcement.grader.calculate_output == "2 * e"
