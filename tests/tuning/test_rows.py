"""Splitting, deduping, mixing, sampling and counting files of rows."""

import json
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.errors import UsageError
from tuning import deduping, formats, mixing, sampling, splitting
from tuning.stats import stats

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def save(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def load(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def chat(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@QUICK
@given(
    prompts=st.lists(st.integers(0, 40), min_size=3, max_size=120),
    shares=st.sampled_from([(0.5, 0.5), (0.8, 0.1, 0.1), (0.9, 0.1), (1.0,)]),
    seed=st.integers(0, 5),
)
def test_no_prompt_is_on_two_sides_and_no_row_is_lost(tmp_path, prompts, shares, seed):
    rows = [chat(f"q{prompt}" + " " * (n % 3), f"a{n % 2}") for n, prompt in enumerate(prompts)]
    file, outs = save(tmp_path / "all.jsonl", rows), [tmp_path / f"{n}.jsonl" for n in range(len(shares))]
    if len(set(prompts)) < len(shares):
        with pytest.raises(UsageError, match="cannot fill"):
            splitting.split(file, outs, shares, seed)
        return
    counts = splitting.split(file, outs, shares, seed)
    parts = [load(out) for out in outs]
    assert counts == [len(part) for part in parts] and min(counts) > 0
    assert sorted(json.dumps(row) for part in parts for row in part) == sorted(map(json.dumps, rows))
    sides = [{row["messages"][0]["content"].strip() for row in part} for part in parts]
    assert sum(map(len, sides)) == len(set.union(*sides))
    largest = max(Counter(prompts).values())
    assert all(
        abs(count - share * len(rows)) <= largest * len(shares) + 1 for count, share in zip(counts, shares, strict=True)
    )


def test_a_split_depends_on_the_seed_alone_and_not_on_the_order(tmp_path):
    rows = [chat(f"q{n}", "a") for n in range(50)]
    outs = [tmp_path / "a", tmp_path / "b"]

    def first(seed, rows):
        splitting.split(save(tmp_path / "all.jsonl", rows), outs, (0.5, 0.5), seed)
        return sorted(map(json.dumps, load(outs[0])))

    assert first(1, rows) == first(1, rows[::-1]) != first(2, rows)


def test_a_split_can_go_by_a_field(tmp_path):
    rows = [{"text": f"t{n}", "author": n % 4} for n in range(40)]
    outs = [tmp_path / "a", tmp_path / "b"]
    assert splitting.split(save(tmp_path / "all.jsonl", rows), outs, (0.5, 0.5), by="author") == [20, 20]
    assert not {r["author"] for r in load(outs[0])} & {r["author"] for r in load(outs[1])}
    with pytest.raises(UsageError, match=r"all.jsonl:1: no field 'writer'; have 'text', 'author'"):
        splitting.split(tmp_path / "all.jsonl", outs, (0.5, 0.5), by="writer")


def test_a_broken_line_leaves_no_part_behind(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    with pytest.raises(UsageError, match=r"bad.jsonl:2: the line is not JSON"):
        splitting.split(tmp_path / "bad.jsonl", [tmp_path / "a", tmp_path / "b"], (0.5, 0.5))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]


def test_equal_rows_go_whatever_the_order_of_their_keys(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1, "b": "x"}\n{"b": "x", "a": 1}\n{"a": 2, "b": "x"}\n')
    done = deduping.dedupe(tmp_path / "a.jsonl", tmp_path / "o.jsonl")
    assert (done.rows, done.exact, done.near, done.pairs) == (2, 1, 0, [(2, 1, 1.0)])
    assert (tmp_path / "o.jsonl").read_bytes() == b'{"a": 1, "b": "x"}\n{"a": 2, "b": "x"}\n'


def test_near_rows_are_those_that_comparing_every_pair_finds(tmp_path):
    rng = random.Random(3)
    letters = "abcdefgh 가나다라마"
    rows = []
    for n in range(150):
        if n % 3 == 2:
            text = list(rng.choice(rows)["text"])
            for _ in range(rng.choice([1, 3, 30])):
                text[rng.randrange(len(text))] = rng.choice(letters)
            rows.append({"text": "".join(text)})
        else:
            rows.append({"text": "".join(rng.choice(letters) for _ in range(200))})
    done = deduping.dedupe(save(tmp_path / "a.jsonl", rows), tmp_path / "o.jsonl", near=0.8)
    kept = []  # the slow reference: every row against every one that stayed
    for row in rows:
        text = " ".join(row["text"].lower().split())
        mine = {text[i : i + 5] for i in range(len(text) - 4)}
        if all(len(mine & other) / len(mine | other) < 0.8 for other, _ in kept):
            kept.append((mine, row))
    assert load(tmp_path / "o.jsonl") == [row for _, row in kept]
    assert done.near == 150 - len(kept) > 10


@pytest.mark.parametrize(("near", "on", "message"), [(0.3, "row", "near=0.3"), (None, "answer", "on='answer'")])
def test_dedupe_refuses_what_it_cannot_do(tmp_path, near, on, message):
    with pytest.raises(UsageError, match=message):
        deduping.dedupe(tmp_path / "a.jsonl", tmp_path / "o.jsonl", near, on)


def test_dedupe_by_prompt(tmp_path):
    file = save(tmp_path / "a.jsonl", [chat("q", "1"), chat("q ", "2"), chat("r", "3")])
    assert deduping.dedupe(file, tmp_path / "o.jsonl", on="prompt").rows == 2


@QUICK
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    weights=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    policy=st.sampled_from(mixing.POLICIES),
    seed=st.integers(0, 3),
)
def test_the_shares_hold_in_every_beginning_of_a_mix(tmp_path, sizes, weights, policy, seed):
    weights = weights[: len(sizes)]
    files = [save(tmp_path / f"{n}.jsonl", [{"s": n, "r": r} for r in range(size)]) for n, size in enumerate(sizes)]
    counts = mixing.mix(files, weights, tmp_path / "mix.jsonl", seed, policy)
    mixed = load(tmp_path / "mix.jsonl")
    assert [sum(row["s"] == n for row in mixed) for n in range(len(sizes))] == counts
    if policy == "drop":
        assert counts == sizes and len({(r["s"], r["r"]) for r in mixed}) == sum(sizes)
        mixed = mixed[
            : next(
                i
                for i in range(1, len(mixed) + 1)
                if any(sum(r["s"] == n for r in mixed[:i]) == size for n, size in enumerate(sizes))
            )
        ]
    if policy == "repeat":
        assert all(count >= size for count, size in zip(counts, sizes, strict=True))
    if policy == "stop":
        assert all(count <= size for count, size in zip(counts, sizes, strict=True)) and any(
            c == s for c, s in zip(counts, sizes, strict=True)
        )
    taken = [0] * len(sizes)
    for length, row in enumerate(mixed, start=1):
        taken[row["s"]] += 1
        for count, weight in zip(taken, weights, strict=True):
            due = length * weight / sum(weights)
            assert due - max(1, len(sizes) - 1) - 1e-6 < count < due + 1 + 1e-6


def test_a_mix_is_seeded_and_an_output_is_never_an_input(tmp_path):
    a, b = (save(tmp_path / name, [{name: n} for n in range(20)]) for name in ("a", "b"))
    outs = [tmp_path / f"o{n}" for n in range(3)]
    for out, seed in zip(outs, (1, 1, 2), strict=True):
        mixing.mix([a, b], [0.5, 0.5], out, seed)
    assert outs[0].read_bytes() == outs[1].read_bytes() != outs[2].read_bytes()
    with pytest.raises(UsageError, match="read and written at once"):
        mixing.mix([a, b], [1, 1], a)
    assert mixing.mix([a, b], [1, 1], outs[0], most=7) == [4, 3]


def test_a_sample_gives_every_row_the_same_chance(tmp_path):
    file = save(tmp_path / "a.jsonl", [{"n": n} for n in range(20)])
    seen = Counter()
    for seed in range(600):
        sampling.sample(file, tmp_path / "o.jsonl", 5, seed)
        rows = [row["n"] for row in load(tmp_path / "o.jsonl")]
        assert rows == sorted(rows) and len(set(rows)) == 5
        seen.update(rows)
    assert all(110 < seen[n] < 190 for n in range(20))  # 150 each; 40 is 3.8 standard deviations
    with pytest.raises(UsageError, match="has 20 rows, fewer than the 21"):
        sampling.sample(file, tmp_path / "o.jsonl", 21)


def test_stats_by_hand(tmp_path):
    rows = [chat("안녕", "abc"), chat("안녕", "abcd"), chat("안녕", "abc"), {"prompt": "xy", "completion": "z"}]
    found = stats(save(tmp_path / "a.jsonl", rows))
    assert (found.rows, found.distinct_rows, found.distinct_prompts, found.korean) == (4, 3, 2, 0.75)
    assert found.messages == {"user": 3, "assistant": 3, "prompt": 1, "completion": 1}
    assert found.characters == {"user": 6, "assistant": 10, "prompt": 2, "completion": 1}
    assert found.percentiles == {"p0": 3, "p5": 3, "p25": 3, "p50": 5, "p75": 5, "p95": 6, "p100": 6}
    assert found.keys == {"messages": 3, "completion, prompt": 1}


WORKS = {
    "split": lambda file, out, **how: splitting.split(file, [out, out.with_name("p.jsonl")], [0.5, 0.5], **how),
    "dedupe": lambda file, out, **how: deduping.dedupe(file, out, **how),
    "mix": lambda file, out, **how: mixing.mix([file], [1.0], out, **how),
    "sample": lambda file, out, **how: sampling.sample(file, out, 9, **how),
    "stats": lambda file, out, **how: stats(file, **how),
    "convert": lambda file, out, **how: formats.convert(file, out, "alpaca", **how),
}


@pytest.mark.parametrize("name", WORKS)
def test_a_work_tells_how_far_it_is_and_an_interrupt_leaves_nothing_half_written(tmp_path, name):
    file, out = save(tmp_path / "all.jsonl", [chat(f"q{n}", "a") for n in range(3000)]), tmp_path / "o.jsonl"
    told = []
    WORKS[name](file, out, advance=lambda done, total: told.append((done, total)))
    done, totals = [at for at, _ in told], {total for _, total in told}
    assert done == sorted(done) and len(set(done)) > 8 and totals == {done[-1]}
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(at, total):
        if at * 4 > total * 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WORKS[name](save(file, [chat(f"r{n}", "b") for n in range(3000)]), out, advance=stop)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == {**before, "all.jsonl": file.read_bytes()}
