"""The server's benchmark prints a ratio only of equal work, above 1 where ours is better, and no round repeats another's prompts."""

import json
from argparse import Namespace

from tests.bench import serve
from tests.bench.test_generate import KEYS

GIVEN = Namespace(json=True, model="S", threads=1)


def run(wall, cpu, text="abcdef", tokens=60):
    return {"wall_s": wall, "cpu_s": cpu, "answers": [(text, tokens), (text, tokens)]}


def printed(capsys, rounds, peak):
    serve._tell_throughput(GIVEN, rounds, peak)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_ratios_are_taken_within_a_round_and_above_1_ours_is_better(capsys):
    rounds = [
        {"ours": run(2.0, 1.0), "transformers serve": run(3.0, 4.0)},
        {"ours": run(4.0, 2.0), "transformers serve": run(12.0, 4.0)},
        {"ours": run(1.0, 1.0), "transformers serve": run(2.0, 5.0)},
    ]
    wall, cpu, memory = printed(capsys, rounds, {"ours": 50.0, "transformers serve": 100.0})
    assert (wall["ratio"], wall["ratio_min"], wall["ratio_max"]) == (2.0, 1.5, 3.0)
    assert (wall["ours"], wall["theirs"]) == (60.0, 40.0)  # 120 tokens in 2, 4, 1 s and in 3, 12, 2 s
    assert (cpu["ratio"], cpu["ratio_min"], cpu["ratio_max"]) == (4.0, 2.0, 5.0)
    assert (memory["ours"], memory["theirs"], memory["ratio"]) == (50.0, 100.0, 2.0)
    assert all(set(row) >= KEYS for row in (wall, cpu, memory))


def test_answers_that_differ_get_no_ratio(capsys):
    for other in (run(3.0, 3.0, text="xbcdef"), run(3.0, 3.0, tokens=59)):
        (row,) = printed(capsys, [{"ours": run(2.0, 2.0), "transformers serve": other}], {})
        assert "ratio" not in row and "answers are equal" in row["not_compared"]


def test_a_round_asks_what_no_server_has_read():
    asked = [{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "max_tokens": 3}]
    (first,), (second,) = serve._round(asked, 1), serve._round(asked, 2)
    assert first["messages"] == [asked[0]["messages"][0], {"role": "user", "content": "1. u"}]
    assert second["messages"][1]["content"] == "2. u" and second["max_tokens"] == 3
