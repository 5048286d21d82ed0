"""kill -9 of the server, and of its worker every other time, at random moments of a job: each job ends with the weights of one that nobody
disturbed, and nothing that was acknowledged is lost. CHAINTUNE_KILLS sets how many moments, CHAINTUNE_SEED which."""

import json
import os
import random
import signal
import time

import pytest

from apps.server import files, queue, worker
from apps.server.database import Database
from tests.apps.server import live
from tests.apps.server.test_batches import serve
from tests.apps.server.test_jobs import ROWS, ended, same, weights, workers
from tests.apps.server.test_methods import CHECK, PREFERENCES, PROMPTS

KILLS = int(os.environ.get("CHAINTUNE_KILLS", "3"))
SEED = int(os.environ.get("CHAINTUNE_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
LONGEST_S = 12
"""How long after a job was acknowledged the kill comes at most."""
NUMBERS = {"n_epochs": 10, "batch_size": 2, "learning_rate_multiplier": 1.0}
JOBS = {
    "supervised": (ROWS, NUMBERS, None),
    "dpo": (PREFERENCES, {**NUMBERS, "beta": 0.1}, None),
    "reinforcement": (
        PROMPTS,
        {**NUMBERS, "compute_multiplier": 0.25, "eval_interval": "auto", "eval_samples": 1, "max_tokens": 4},
        CHECK,
    ),
}


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def undisturbed(db, kind):
    """Return the weights of a job that runs in this process, while no server does."""
    import io

    rows, numbers, grader = JOBS[kind]
    file = files.add(db, "", "train.jsonl", "fine-tune", io.BytesIO(jsonl(rows)))
    job = queue.create(db, "", "starter", file["id"], None, "same", 1, queue.Method(kind, numbers, grader), None)
    worker.work(db, job["id"])
    row = queue.get(db, job["id"])
    assert row["status"] == "succeeded", row["error"]
    return weights(row["result_name"])


def begin(client, kind, known):
    """Return a job that the server has acknowledged; what else it has goes to `known`."""
    rows, numbers, grader = JOBS[kind]
    file = client.files.create(file=("t.jsonl", jsonl(rows)), purpose="fine-tune")
    known["files"][file.id] = jsonl(rows)
    given = {"hyperparameters": numbers, **({"grader": grader} if grader else {})}
    job = client.fine_tuning.jobs.create(
        model="starter", training_file=file.id, seed=1, suffix="kill", method={"type": kind, kind: given}
    )
    known["jobs"].add(job.id)
    return job


def check_all_there(client, known):
    for file_id, body in known["files"].items():
        assert client.files.content(file_id).read() == body
    assert known["jobs"] <= {job.id for job in client.fine_tuning.jobs.list(limit=100)}
    assert known["models"] <= {model.id for model in client.models.list()}


@pytest.mark.timeout(300 + 120 * KILLS)
def test_a_server_killed_at_any_moment_loses_nothing(server_home):
    chance, known = random.Random(SEED), {"files": {}, "jobs": set(), "models": set()}
    kinds = [list(JOBS)[n % len(JOBS)] for n in range(KILLS)]
    expected = {kind: undisturbed(Database(), kind) for kind in dict.fromkeys(kinds)}
    port = live.free_port()
    client = live.client(f"http://127.0.0.1:{port}").with_options(max_retries=5)
    server = serve(port)
    try:
        for number, kind in enumerate(kinds):
            job = begin(client, kind, known)
            moment = chance.uniform(0, LONGEST_S)
            time.sleep(moment)
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
            for pid in workers(job) if number % 2 else ():
                os.kill(pid, signal.SIGKILL)
            server = serve(port)
            check_all_there(client, known)
            done = ended(client, job)
            assert done.status == "succeeded", (SEED, number, moment, done.error)
            assert same(weights(done.fine_tuned_model), expected[kind]), (SEED, number, moment)
            known["models"].add(done.fine_tuned_model)
            known["files"][done.result_files[0]] = client.files.content(done.result_files[0]).read()
    finally:
        server.terminate()
        server.wait(60)
