"""What a maker keeps: nothing lost, nothing doubled, and no file that is half there."""

import json

import pytest

from chains.errors import MachineError, UsageError
from tuning.generate.journal import Journal

SETTINGS = {"maker": "test", "seed": 0}


def test_a_second_run_sees_what_the_first_wrote_and_finish_leaves_the_file_alone(tmp_path):
    out = tmp_path / "made.jsonl"
    with Journal(out, SETTINGS) as journal:
        journal.add({"kept": "가"})
    assert not out.exists()
    with Journal(out, SETTINGS) as journal:
        assert journal.events == [{"kept": "가"}]
        journal.add({"kept": "나"})
        assert journal.finish([{"row": 1}, {"row": 2}]) == 2
    assert [json.loads(line) for line in out.read_text().splitlines()] == [{"row": 1}, {"row": 2}]
    assert [path.name for path in tmp_path.iterdir()] == ["made.jsonl"]


@pytest.mark.parametrize("cut", [b'{"kept": "ha', b'{"kept": "half"}'])  # inside a line, and just before its end
def test_a_line_that_was_cut_short_was_not_done(tmp_path, cut):
    out = tmp_path / "made.jsonl"
    with Journal(out, SETTINGS) as journal:
        journal.add({"kept": 1})
    with journal.path.open("ab") as file:
        file.write(cut)
    with Journal(out, SETTINGS) as journal:
        assert journal.events == [{"kept": 1}]
        journal.add({"kept": 2})
    with Journal(out, SETTINGS) as journal:
        assert journal.events == [{"kept": 1}, {"kept": 2}]


def test_other_settings_are_named(tmp_path):
    with Journal(tmp_path / "made.jsonl", SETTINGS):
        pass
    with pytest.raises(
        UsageError, match=r"made\.jsonl\.part was begun with seed 0, not 1; go on with the same, or remove it"
    ):
        Journal(tmp_path / "made.jsonl", {**SETTINGS, "seed": 1})


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "made.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        Journal(tmp_path / "made.jsonl", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["made.jsonl"]


def test_two_runs_at_once_are_refused(tmp_path):
    with Journal(tmp_path / "made.jsonl", SETTINGS), pytest.raises(MachineError, match="made by another process"):
        Journal(tmp_path / "made.jsonl", SETTINGS)
