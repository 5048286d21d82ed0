"""Labeling that is killed: what was answered stays answered."""

import os
import random
import re
import signal
import time

from tests import tiny
from tests.apps.test_cli_make import Terminal, rows, unranked

ROWS, KILLS = 14, 4
ORDERS = [("123", (1, 2, 3)), ("3=12", (1, 2, 1)), ("21\x7f3=1", (2, 1, 2)), ("231", (3, 1, 2))]
"""Keys, and the ranks that they give to the answers shown as 1, 2 and 3; a key is taken back in one."""


def number_and_answers(person):
    """Return the row that is on the screen, counted from 1, and its answers as they stand."""
    person.until("── row ")
    number = int(person.until(" of").removesuffix(" of"))
    person.until("[1] ")
    return number, [person.until("\n").strip(), *(_after(person, f"[{place}] ") for place in (2, 3))]


def _after(person, mark):
    person.until(mark)
    return person.until("\n").strip()


def test_kill_9_at_random_moments_loses_no_answered_ranking(tmp_path):
    file = tiny.write(tmp_path / "u.jsonl", [unranked(f"q{n}", f"a{n}", f"b{n}", f"c{n}") for n in range(ROWS)])
    draw, answered, kills, undone = random.Random(5), {}, 0, 0
    person = Terminal("label", file, "--out", tmp_path / "r.jsonl")
    number, shown = number_and_answers(person)
    while True:
        order, ranks = draw.choice(ORDERS)
        given = dict(zip(shown, ranks, strict=True))
        if kills < KILLS and draw.random() < 0.3:
            person.type((order + "\r")[: draw.randint(0, 6)])
            time.sleep(draw.random() / 50)
            os.kill(person.pid, signal.SIGKILL)
            assert person.ended() == -signal.SIGKILL
            kills += 1
            person = Terminal("label", file, "--out", tmp_path / "r.jsonl")
            before, (number, shown) = number, number_and_answers(person)
            assert number in (before, before + 1)  # what was typed when it died was written, or not
            if number > before:
                answered[before] = given
            continue
        if number > 1 and undone < 2 and draw.random() < 0.3:
            person.type("b")
            undone += 1
            before, (number, shown) = number, number_and_answers(person)
            assert number == before - 1 and answered.pop(number)
            continue
        person.type(order + "\r")
        answered[number] = given
        if number == ROWS:
            break
        before, (number, shown) = number, number_and_answers(person)
        assert number == before + 1
    person.until("all rows are decided")
    person.type("\n")
    assert person.ended() == 0 and (kills, undone) == (KILLS, 2)
    found = [{o["messages"][0]["content"]: o["rank"] for o in row["outputs"]} for row in rows(tmp_path / "r.jsonl")]
    assert found == [answered[number] for number in range(1, ROWS + 1)]
    assert all(re.fullmatch(r"[abc]\d+", answer) for row in found for answer in row)
