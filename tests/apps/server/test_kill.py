"""A server that is killed loses no job: the next one takes the queue up, and the weights are those of a run that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys

from chains.models import registry
from tests import tiny
from tests.apps.server import live
from tests.apps.server.test_jobs import ended, metrics, same, until, upload, weights
from tuning import sft

ROWS = [tiny.chat(f"What is {n}?", f"It is {n}.") for n in range(12)]


def serve(home):
    """Start `chaintune serve` and return it with its client, once it listens."""
    port = live.free_port()
    child = subprocess.Popen([sys.executable, "-m", "apps.cli", "serve", "--port", str(port)], stdout=subprocess.PIPE,
                             env={**os.environ, "CHAINTUNE_HOME": str(home)})  # fmt: skip
    assert child.stdout.readline()
    return child, live.client(f"http://127.0.0.1:{port}")


def test_a_killed_server_and_worker_end_with_the_same_weights(server_home, tmp_path):
    first, client = serve(server_home)
    body = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    job = client.fine_tuning.jobs.create(
        model="starter", training_file=upload(client, body), seed=3, suffix="k",
        hyperparameters={"n_epochs": 30, "batch_size": 2},
    )  # fmt: skip
    until(lambda: metrics(client, job))
    first.kill()
    first.wait()
    second, client = serve(server_home)
    try:
        assert client.files.retrieve(job.training_file).bytes == len(body)
        client.fine_tuning.jobs.pause(job.id)  # the first server's worker hears of it
        ended(client, job, ("paused", "succeeded"))
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
        second, client = serve(server_home)
        if client.fine_tuning.jobs.retrieve(job.id).status == "paused":
            client.fine_tuning.jobs.resume(job.id)
        done = ended(client, job)
        assert done.status == "succeeded", done.error
    finally:
        second.kill()
        second.wait()
    assert sum(entry.name == done.fine_tuned_model for entry in registry.entries()) == 1
    path = tiny.write(tmp_path / "same.jsonl", ROWS)
    config = sft.Config(model="starter", data=path, suffix="k", seed=3, epochs=30.0, batch_size=2)
    assert same(weights(sft.train(config).name), weights(done.fine_tuned_model))
