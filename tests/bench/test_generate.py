"""The generation benchmark: its workload is what it says, a wrong answer gets no ratio, and its shortest run works."""

import json
import math
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from tests.bench import models, reference, streams, throughput
from tests.bench.compare import Side, agreement, alternate, comparison

ROOT = Path(__file__).parents[2]
KEYS = {"bench", "peer", "model", "dtype", "threads", "unit", "ours", "theirs", "ratio", "ratio_min", "ratio_max", "rss_ratio", "rounds"}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def small(cache):
    return models.folder(cache, "S")


def test_requests_share_150_tokens_and_bring_20_to_200_of_their_own(small):
    asked = models.requests(small, 32)
    prompts = [request["ids"] for request in asked]
    assert len({tuple(ids[:150]) for ids in prompts}) == 1
    assert sorted(len(ids) - 150 for ids in prompts)[:: len(prompts) - 1] == [20, 200]
    assert sum(request["max_tokens"] for request in asked) == 32 * (16 + 128) // 2


def test_our_chat_reads_exactly_the_ids_that_the_others_are_given(small):
    from chains import LocalChat

    request = models.requests(small, 1)[0]
    llm = LocalChat(str(small))
    assert llm.show([(m["role"], m["content"]) for m in request["messages"]]).token_ids == request["ids"]
    assert not llm.engine.ends  # no answer ends by itself


def test_a_ratio_is_taken_within_a_round():
    ours = Side("ours", "", {}, [{"rate": 10.0, "extra_mb": 5.0}, {"rate": 4.0, "extra_mb": 9.0}, {"rate": 9.0, "extra_mb": 9.0}])  # fmt: skip
    theirs = Side("theirs", "", {}, [{"rate": 5.0, "extra_mb": 20.0}, {"rate": 1.0, "extra_mb": 0.0}, {"rate": 9.0, "extra_mb": 0.0}])  # fmt: skip
    row = comparison(ours, theirs, "rate", "tokens/s")
    assert (row["ratio"], row["ratio_min"], row["ratio_max"]) == (2.0, 1.0, 4.0)
    assert (row["ours"], row["theirs"], row["rss_ratio"], row["rounds"]) == (9.0, 5.0, 4.0, 3)


def test_less_memory_is_better():
    ours, theirs = (Side("", "", {}, [{"extra_mb": mb}]) for mb in (10.0, 30.0))
    assert comparison(ours, theirs, "extra_mb", "MB", less=True)["ratio"] == 3.0


def test_agreement_counts_what_comes_before_the_first_difference():
    assert agreement([[1, 2, 9, 4], [5, 6]], [[1, 2, 3, 4], [5, 6]]) == pytest.approx(4 / 6)
    assert agreement(["abcdef"], ["abc"]) == 1.0  # past the limit


@pytest.fixture
def compared(small, cache, monkeypatch, capsys):
    """Compare given answers of ours with the right ones, in a dtype, and return the row."""
    base = {"folder": small, "threads": 1, "cores": [0], "limit": 2, "cache": cache, "rounds": 1, "json": True}
    given = Namespace(**base, ours=["engine"], only=["transformers one"], foreign="")
    right = [answer["ids"] for answer in reference.answers(small, 2, 1)]

    def row(change, dtype):
        def answered(sides, rounds, log, tell):
            for side in sides:
                answers = list(map(change, right)) if side.spec["side"] == "ours" else right
                side.runs.append({"wall_s": 1.0, "cpu_s": 1.0, "extra_mb": 1.0, "answers": answers})

        monkeypatch.setattr(throughput, "alternate", answered)
        throughput.run(given, "S", dtype)
        return json.loads(capsys.readouterr().out)

    return row


def test_right_answers_get_a_ratio(compared):
    assert compared(lambda ids: ids, "fp32")["ratio"] == 1.0


def test_one_wrong_token_in_fp32_gets_no_ratio(compared):
    row = compared(lambda ids: [*ids[:-1], ids[-1] ^ 1], "fp32")
    assert "ratio" not in row and "engine" in row["not_compared"]


def test_one_near_tie_in_bf16_still_gets_a_ratio(compared):
    row = compared(lambda ids: [*ids[:-1], ids[-1] ^ 1], "bf16")
    assert row["ratio"] == 1.0 and 0.9 < row["equal_ours"] < row["equal_theirs"] == 1.0


def test_nonsense_in_bf16_gets_no_ratio(compared):
    row = compared(lambda ids: [*ids[:3], *[7] * (len(ids) - 3)], "bf16")
    assert "ratio" not in row and "engine" in row["not_compared"]


def test_a_side_that_cannot_load_says_why_and_the_others_run(small, tmp_path):
    spec = {"folder": str(small), "dtype": "fp32", "threads": 1, "cores": [0], "limit": 2}
    missing = Side("gone", sys.executable, {**spec, "side": "transformers", "how": "one", "folder": str(tmp_path)})
    alternate([missing], 1, tmp_path / "log.txt")
    assert "requests.json" in missing.failed and not missing.runs


def test_evenness_of_streams():
    rows = [
        {"began": 0.0, "times": [1.0, 2.0, 4.0], "failure": ""},
        {"began": 0.0, "times": [1.0, 1.5, 2.0], "failure": ""},
        {"began": 1.0, "times": [2.0, 2.5, 4.0], "failure": ""},
        {"began": 0.0, "times": [1.0], "failure": "ValueError()"},
    ]
    facts = streams.evenness(rows)
    assert (facts["streams"], facts["failed"], facts["failure"]) == (4, 1, "ValueError()")
    assert facts["slowest_to_median"] == 1.33
    assert (facts["gap_p50_ms"], facts["gap_p99_ms"]) == (1000.0, 2000.0)


def test_the_quick_run_prints_a_comparison(cache, small):
    command = [sys.executable, "tests/bench/generate.py", "--quick", "--json", "--cache", str(cache)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, done.stdout.splitlines())
    assert set(row) >= KEYS, row
    assert row["peer"] == "transformers static 8" and math.isfinite(row["ratio"]) and row["rounds"] == 1
