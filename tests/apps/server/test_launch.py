"""`chaintune serve --launch`: a job in two processes makes the weights that tuning makes in two, and what stops it stops both."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apps.cli import main
from apps.server.settings import launcher
from chains.models import registry
from tests import tiny
from tests.apps.server import live
from tests.apps.server.test_jobs import ROWS, ended, metrics, same, stepped, until, upload, weights, workers
from tuning import sft

ROOT = Path(__file__).parents[3]
LAUNCH = "accelerate launch --multi_gpu --num_processes 2 --main_process_port 0"
NUMBERS = {"n_epochs": 14, "batch_size": 3}


@pytest.fixture(scope="module")
def client(server_home):
    with live.serving(jobs=True, launch=launcher(LAUNCH)) as (url, _):
        yield live.client(url)


def create(client, **more):
    body = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    asked = {"model": "starter", "seed": 4, "suffix": "two", "hyperparameters": NUMBERS, **more}
    return client.fine_tuning.jobs.create(**{"training_file": upload(client, body), **asked})


def train(path):
    """What each of two processes does: the job's training, without a job."""
    sft.train(sft.Config(model="starter", data=path, suffix="straight", seed=4, epochs=14.0, batch_size=3))


@pytest.fixture(scope="module")
def straight(server_home, tmp_path_factory):
    """The weights that two processes make without a server."""
    path = tiny.write(tmp_path_factory.mktemp("data") / "same.jsonl", ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINTUNE_HOME", str(server_home))
        command = [*launcher(LAUNCH), "-m", "tests.apps.server.test_launch", str(path)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=200, env={**os.environ, "PYTHONPATH": str(ROOT)})
        (made,) = (entry.name for entry in registry.entries() if ":straight:" in entry.name)
        assert registry.find(made).meta["machine"]["processes"] == 2
        return weights(made)


def two(job):
    """The launcher and the two processes that it started, the launcher first."""
    return sorted(workers(job))


@pytest.mark.timeout(500)
def test_a_job_of_two_processes_that_was_killed_and_paused_has_tunings_weights(client, straight):
    job = create(client)
    stepped(client, job)
    assert len(two(job)) == 3
    os.kill(two(job)[0], signal.SIGKILL)  # the launcher: the others see it
    done, old = len(metrics(client, job)), two(job)
    until(lambda: not set(old) & set(two(job)), 10)
    until(lambda: len(metrics(client, job)) > done)
    os.kill(two(job)[-1], signal.SIGKILL)  # one of the two: the launcher sees to the other
    done = len(metrics(client, job))
    until(lambda: len(metrics(client, job)) > done)
    client.fine_tuning.jobs.pause(job.id)
    assert ended(client, job, ("paused", "succeeded")).status == "paused"
    until(lambda: not two(job), 30)
    client.fine_tuning.jobs.resume(job.id)
    made = ended(client, job)
    assert made.status == "succeeded", made.error
    assert registry.find(made.fine_tuned_model).meta["machine"]["processes"] == 2
    assert same(weights(made.fine_tuned_model), straight)


@pytest.mark.timeout(300)
def test_a_cancelled_job_of_two_processes_leaves_none_of_them(client, server_home):
    job = create(client, hyperparameters={"n_epochs": 50, "batch_size": 1})
    stepped(client, job)
    client.fine_tuning.jobs.cancel(job.id)
    assert ended(client, job).status == "cancelled"
    until(lambda: not two(job), 30)
    assert not list((server_home / "work").glob("sft-*/step-*"))


def test_a_job_that_cannot_begin_lets_the_others_go(client):
    job = create(client, training_file=upload(client, b'{"text": "x"}\n' * 12))
    assert ended(client, job).status == "failed"
    until(lambda: not two(job), 30)


@pytest.mark.parametrize("given", ["", "no-such-launcher --x", "'unclosed"])
def test_a_launcher_that_is_not_there_is_refused_at_the_start(home, given, capsys):
    assert main(["serve", "--launch", given]) == 2
    assert "--launch" in capsys.readouterr().err


if __name__ == "__main__":
    train(sys.argv[1])
