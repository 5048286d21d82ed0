"""`chaintune jobs`: the queue from a terminal, with no server running."""

import json

import pytest

from apps.cli import main
from apps.server import queue
from apps.server.database import Database


@pytest.fixture
def job(home):
    return queue.create(Database(), "", "starter", "file-1", None, "x", 1, queue.Method("supervised", {}), None)["id"]


def status(job):
    return queue.get(Database(), job)["status"]


def test_a_job_is_listed_shown_paused_resumed_and_cancelled(job, capsys):
    assert main(["jobs", "list"]) == 0
    listed = capsys.readouterr().out
    assert job in listed and "METHOD" in listed and "supervised" in listed
    assert main(["jobs", "show", job, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "validating_files"
    for word, then in (("pause", "paused"), ("resume", "validating_files"), ("cancel", "cancelled")):
        assert main(["jobs", word, job]) == 0
        assert capsys.readouterr().out.strip() == f"{job}: {then}" and status(job) == then
    assert main(["jobs", "tail", job]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Created fine-tuning job: {job}", "Validating training file: file-1", "The job was paused", "The job was resumed",
        "The job was cancelled",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["show", "tail", "cancel", "pause", "resume"])
def test_a_job_that_is_not_there_is_told_in_one_sentence(word, home, capsys):
    assert main(["jobs", word, "ftjob-none"]) == 2
    assert capsys.readouterr().err.strip() == "there is no job 'ftjob-none'; see: chaintune jobs list"


def test_what_has_ended_is_not_changed(job, capsys):
    main(["jobs", "cancel", job])
    capsys.readouterr()
    for word in ("cancel", "pause", "resume"):
        assert main(["jobs", word, job]) == 2
        assert "cancelled already" in capsys.readouterr().err


def test_no_jobs_are_told_in_korean(home, capsys):
    assert main(["jobs", "list", "--lang", "ko"]) == 0
    assert "작업" in capsys.readouterr().out
