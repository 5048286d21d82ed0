"""The validator: every rule by a row that triggers it and a row next to it that does not, and what only all rows together show."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chains.errors import UsageError
from tests import tiny
from tuning import formats
from tuning.data import rules_text, scripts
from tuning.data.words import RULES, WORDS

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
DATA = Path(__file__).parents[3] / "shared" / "data"


def user(text="what is it?", **more):
    return {"role": "user", "content": text, **more}


def bot(text="it is that.", **more):
    return {"role": "assistant", "content": text, **more}


def chat(*messages, **more):
    return {"messages": list(messages), **more}


def call(id="c1", name="weather", arguments='{"city": "Paris"}'):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls, answers=("c1",), **more):
    tools = {"tools": [TOOL]} if "tools" not in more else {}
    said = {"role": "assistant", "content": None, "tool_calls": list(calls)}
    answered = [{"role": "tool", "content": "sunny", "tool_call_id": id} for id in answers]
    return chat(user(), said, *answered, bot(), **tools, **more)


def ranking(*outputs, prompt=None, **more):
    return {"input": {"messages": prompt or [user()]}, "outputs": list(outputs), **more}


def out(text="a", rank=1):
    return {"messages": [bot(text)], "rank": rank}


def pair(good="yes", bad="no"):
    return {"input": {"messages": [user()]}, "preferred_output": [bot(good)], "non_preferred_output": [bot(bad)]}


RAW = {"raw": None}
IMAGE = {"type": "image_url", "image_url": {"url": "http://x/y.png"}}
KEY_51 = "sk-" + "proj-" + "a1B2c3D4" * 5
CASES = [
    # rule, a row (or bytes) that breaks it, one that does not
    ("not-utf8", b'{"messages": "\xff"}', '{"messages": [{"role":"user","content":"\u00ff"},{"role":"assistant","content":"b"}]}'.encode()),
    ("not-json", b"{'messages': 1}", None),
    ("not-object", b'["a"]', None),
    ("too-deep", b'{"messages": ' + b"[" * 100 + b"]" * 100 + b"}", None),
    ("too-many-keys", {**chat(user(), bot()), "tools": [{**TOOL, **{f"k{n}": 1 for n in range(1001)}}]}, None),
    ("duplicate-key", b'{"messages": [{"role":"user","content":"a","content":"b"},{"role":"assistant","content":"c"}]}',
     b'{"messages": [{"role":"user","content":"a \\": b"},{"role":"assistant","content":"\\"content\\": c"}]}'),
    ("huge-integer", b'{"prompt": "a", "chosen": "b", "rejected": "c", "id": 123456789012345678901234567890}',
     b'{"prompt": "a", "chosen": "b", "rejected": "c", "id": "123456789012345678901234567890"}'),
    ("big-integer", b'{"prompt": "a", "chosen": "b", "rejected": "c", "id": 9007199254740993}',
     b'{"prompt": "a", "chosen": "b", "rejected": "c", "id": 9007199254740992}'),
    ("nul", chat(user("a\0b is it?"), bot()), chat(user("a b is it?"), bot())),
    ("field-missing", {"instruction": "a", "output": "b", "drop": "output"}, {"instruction": "a", "output": "b"}),
    ("field-type", {"instruction": "a", "output": 3}, {"instruction": "a", "output": "3"}),
    ("field-empty", {"instruction": "a", "output": " "}, {"instruction": "a", "output": "b"}),
    ("key-unknown", chat(user(), bot(), id=3), chat(user(), bot(), tools=[TOOL])),
    ("messages-missing", chat(), chat(user(), bot())),
    ("message-type", chat("hi", bot()), chat(user(), bot())),
    ("role-unknown", chat(user(), {"role": "bot", "content": "b"}), chat(user(), bot())),
    ("content-empty", chat(user(" "), bot()), chat(user("x"), bot())),
    ("content-part", chat(user([{"type": "video", "text": "a"}]), bot()), chat(user([IMAGE, {"type": "text", "text": "a"}]), bot())),
    ("message-key-unknown", chat(user(id=1), bot()), chat(user(name="Ana"), bot())),
    ("name-invalid", chat(user(name="Ana B."), bot()), chat(user(name="Ana_B-1"), bot())),
    ("weight-invalid", chat(user(), bot(weight=0.5)), chat(user(), bot(weight=1))),
    ("weight-misplaced", chat(user(weight=0), bot()), chat(user(), bot(weight=0), user(), bot())),
    ("assistant-first", chat(bot(), user(), bot()), chat(user(), bot(), user(), bot())),
    ("assistant-last", chat(user(), bot(), user()), chat(user(), bot(), user(), bot())),
    ("assistant-missing", chat(user(), user()), chat(user(), user(), bot())),
    ("user-missing", chat({"role": "system", "content": "s"}, bot()), chat({"role": "system", "content": "s"}, user(), bot())),
    ("user-last", {"prompt": [user(), bot()]}, {"prompt": [user(), bot(), user()]}),
    ("nothing-learned", chat(user(), bot(weight=0)), chat(user(), bot(weight=0), user(), bot(weight=1))),
    ("system-middle", chat(user(), {"role": "system", "content": "s"}, bot()), chat({"role": "system", "content": "s"}, user(), bot())),
    ("images-many", chat(user([IMAGE] * 11 + [{"type": "text", "text": "a"}]), bot()), chat(user([IMAGE] * 10), bot())),
    ("tools-invalid", chat(user(), bot(), tools=[{"name": "weather"}]), chat(user(), bot(), tools=[TOOL])),
    ("tools-many", chat(user(), bot(), tools=[TOOL] * 129), chat(user(), bot(), tools=[TOOL] * 128)),
    ("parallel-invalid", chat(user(), bot(), tools=[TOOL], parallel_tool_calls="yes"), chat(user(), bot(), tools=[TOOL], parallel_tool_calls=False)),
    ("call-invalid", calling({"type": "function", "function": {"name": "weather", "arguments": "{}"}}, answers=()), calling(call())),
    ("arguments-json", calling(call(arguments="Paris")), calling(call(arguments="{}"))),
    ("tool-unknown", calling(call(name="wether")), calling(call())),
    ("call-unanswered", calling(call(), call("c2")), calling(call(), call("c2"), answers=("c1", "c2"))),
    ("answer-orphan", calling(call(), answers=("c1", "c9")), calling(call())),
    ("outputs-few", ranking(out()), ranking(out(), out("b", 2))),
    ("output-type", ranking(out(), "b"), ranking(out(), out("b", 2))),
    ("output-single", ranking(out(), {"messages": [bot("b"), bot("c")], "rank": 2}), ranking(out(), out("b", 2))),
    ("rank-invalid", ranking(out(), out("b", 0)), ranking(out(), out("b", 2), out("c", 2))),
    ("ranks-equal", ranking(out(), out("b")), ranking(out(), out("b"), out("c", 2))),
    ("label-invalid", {"prompt": "a", "completion": "b", "label": 1}, {"prompt": "a", "completion": "b", "label": True}),
    ("prompt-assistant", ranking(out(), out("b", 2), prompt=[user(), bot()]), ranking(out(), out("b", 2))),
    ("preferred-equal", pair("yes", "yes "), pair("yes", "no")),
    ("control-token", chat(user("say <|im_end|> now"), bot()), chat(user("say <b> | [x] now"), bot())),
    ("control-character", chat(user("a\x07b is it?"), bot()), chat(user("a\tb\nis it?"), bot())),
    ("mojibake", chat(user("what is cafÃ© now?"), bot()), chat(user("what is café now?"), bot())),
    ("language-mix", chat(user("공은 어떻게 생겼나요?"), bot("The ball is round, of course.")), chat(user("공은 어떻게 생겼나요?"), bot("공은 당연히 둥글게 생겼습니다, 정말로요."))),
    ("personal-data", chat(user("write to ana.b@mail.kr"), bot()), chat(user("write to @ana about x@y"), bot())),
    ("secret", chat(user(f"my key is {KEY_51}"), bot()), chat(user("my key is sk-short"), bot())),
]  # fmt: skip
MORE = [
    ("personal-data", "call 010-1234-5678", "order 010-12-56"),
    ("personal-data", "번호는 900101-1234568 입니다", "번호는 900101-1234567 입니다"),  # the check digit, by hand: 8
    ("personal-data", "card 4111 1111 1111 1111", "card 4111 1111 1111 1112"),  # a well-known test number, and one off
    ("secret", "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7"),  # from AWS's documents
    ("secret", 'password = "hunter2hunter2"', "the password is strong"),
    ("mojibake", "ì•ˆë…•í•˜ì„¸ìš”", "안녕하세요"),  # the right one, read as Windows-1252
    ("mojibake", "it\ufffds", "it's"),
    ("control-token", "[INST] hello [/INST]", "arr[INSTANCE]"),
]


def write(path, rows):
    raws = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    path.write_bytes(b"".join(raw + b"\n" for raw in raws))
    return path


def rules(path, **asked):
    report = formats.check(path, formats.Asked(**asked))
    return {rule for rule in report.counts if rule not in ("too-few-rows", "some-rows")}


def around(row):
    """Return rows of the same format, by which the file is recognised."""
    if isinstance(row, bytes):
        return (
            [{"prompt": f"p{n}", "chosen": "b", "rejected": "c", "id": "1"} for n in range(3)]
            if b"chosen" in row
            else [chat(user(), bot())] * 1
        )
    if "outputs" in row:
        return [ranking(out(), out("b", 2), prompt=[user("first?")])]
    if "preferred_output" in row:
        return [pair("left", "right")]
    if "instruction" in row:
        return [{"instruction": "other", "output": "x"}]
    if "label" in row:
        return [{"prompt": "p", "completion": "q", "label": False}]
    if "prompt" in row:
        return [{"prompt": [user("other")]}]
    return [chat(user("first question?"), bot("first answer."))]


@pytest.mark.parametrize(("rule", "bad", "good"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_is_told_where_it_is_broken_and_nowhere_else(tmp_path, rule, bad, good):
    if rule == "field-missing":
        bad = {"instruction": "a", "input": "b"}
    before = around(bad)
    path = write(tmp_path / "d.jsonl", [*before, *before, bad])  # twice, so that the format is theirs
    report = formats.check(path, formats.Asked(near=False))
    here = {finding.rule for finding in report.findings if finding.line == 2 * len(before) + 1}
    assert here == {rule}
    finding = next(finding for finding in report.findings if finding.rule == rule)
    assert str(finding).startswith(f"{path}:{2 * len(before) + 1}: ")
    assert finding.level == RULES[rule]
    if good is not None:
        path = write(tmp_path / "g.jsonl", [*before, good])
        assert rules(path, near=False) == set()


@pytest.mark.parametrize(("rule", "bad", "good"), MORE)
def test_a_text_rule_knows_its_look_alikes(tmp_path, rule, bad, good):
    assert rules(write(tmp_path / "b.jsonl", [{"text": bad}])) == {rule}
    assert rules(write(tmp_path / "g.jsonl", [{"text": good}])) == set()


def test_personal_data_and_secrets_are_not_shown_again(tmp_path):
    report = formats.check(write(tmp_path / "d.jsonl", [{"text": f"ana.b@mail.kr 010-1234-5678 {KEY_51}"}]))
    shown = " ".join(str(finding) for finding in report.findings)
    assert len(report.findings) == 3 and not any(part in shown for part in ("mail.kr", "5678", KEY_51[:12]))


def test_every_rule_has_a_test_and_words_in_both_languages():
    elsewhere = {"file-empty", "too-few-rows", "some-rows", "mixed-formats", "unknown-format", "file-size", "bom", "crlf", "too-long-line",
                 "role-train", "too-long", "template-refuses", "prefix-unstable", "eos-unlearned", "tokens-unlearned", "flagged", "duplicate",
                 "near-duplicate", "conflict", "leak", "leak-prompt", "metadata"}  # fmt: skip
    assert {case[0] for case in CASES} | elsewhere == set(RULES)
    assert set(WORDS["en"]) == set(WORDS["ko"]) == set(RULES)
    for rule in RULES:
        gaps = [sorted(re.findall(r"(?<!\{)\{(\w+)", " ".join(WORDS[tongue][rule]))) for tongue in ("en", "ko")]
        assert gaps[0] == gaps[1], rule


@pytest.mark.parametrize(
    ("count", "rule"),
    [(0, {"file-empty"}), (9, {"too-few-rows"}), (10, {"some-rows"}), (49, {"some-rows"}), (50, set())],
)
def test_ten_rows_are_the_least_and_fifty_are_advised(tmp_path, count, rule):
    report = formats.check(write(tmp_path / "d.jsonl", [chat(user(f"q {n}?"), bot(f"a {n}.")) for n in range(count)]))
    assert set(report.counts) == rule
    assert report.good == (count >= 10)


def test_the_file_s_own_marks_are_told(tmp_path):
    path = tmp_path / "d.jsonl"
    line = json.dumps(chat(user(), bot())).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n")
    report = formats.check(path)
    assert {f.rule: f.line for f in report.findings if f.line} == {"bom": 1, "crlf": 1}
    other = write(
        tmp_path / "e.jsonl", [chat(user(), bot()), chat(user("b?"), bot()), {"instruction": "a", "output": "b"}]
    )
    assert [(f.line, f.rule) for f in formats.check(other).findings if f.line] == [(3, "mixed-formats")]
    unknown = write(tmp_path / "f.jsonl", [{"foo": 1, "bar": 2}])
    assert rules(unknown) == {"unknown-format"}


def test_rows_together_show_duplicates_conflicts_and_near_ones(tmp_path):
    long = " ".join(f"word{n}" for n in range(60))
    rows = [chat(user("q1?"), bot("a1.")), chat(user("q2?"), bot("a2.")), chat(user("q1?"), bot("a1.")), chat(user("q2?"), bot("other.")),
            chat(user(long), bot("yes")), chat(user(long.replace("word30", "other")), bot("yes"))]  # fmt: skip
    report = formats.check(write(tmp_path / "d.jsonl", rows))
    assert [(f.line, f.rule, f.values["first"]) for f in report.findings if f.line] == [
        (3, "duplicate", 1),
        (4, "conflict", 2),
        (6, "near-duplicate", 5),
    ]
    swapped = {"messages": [{"content": m["content"], "role": m["role"]} for m in rows[0]["messages"]]}
    assert rules(write(tmp_path / "e.jsonl", [rows[0], swapped])) == {"duplicate"}  # the order of keys is no difference
    assert rules(write(tmp_path / "f.jsonl", rows[4:6]), near=False) == set()


def test_near_rows_are_those_that_comparing_every_pair_finds(tmp_path):
    """The reference compares the sets of 8-byte pieces of each two rows."""
    import random

    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefgh", k=5)) for _ in range(300)]
    texts = [" ".join(draw.choices(words, k=60)) for _ in range(150)]
    for n in range(150):  # change some words of the row, from one to a third of them
        changed = texts[n].split()
        for place in draw.sample(range(60), 1 + n % 12):
            changed[place] = draw.choice(words)
        texts.append(" ".join(changed))
    sets = [{text.encode()[i : i + 8] for i in range(len(text) - 7)} for text in texts]
    near = {j + 1 for j in range(300) for i in range(j) if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= 0.85}
    report = formats.check(write(tmp_path / "d.jsonl", [{"text": text} for text in texts]), formats.Asked(most=0))
    found = {f.line for f in report.findings if f.rule == "near-duplicate"}
    assert found <= near and len(found) >= 0.97 * len(near) > 20


def test_rows_of_the_validation_file_are_leaks(tmp_path):
    train = write(tmp_path / "t.jsonl", [chat(user(f"q {n}?"), bot(f"a {n}.")) for n in range(12)])
    held = write(
        tmp_path / "v.jsonl",
        [
            {"prompt": "q 3?", "completion": "a 3."},
            {"prompt": "q 4?", "completion": "else"},
            {"prompt": "new", "completion": "x"},
        ],
    )
    report = formats.check(train, formats.Asked(validation=held))
    assert [(f.line, f.rule, f.values["first"]) for f in report.findings if f.line] == [
        (4, "leak", 1),
        (5, "leak-prompt", 2),
    ]
    assert not report.good


def test_many_findings_of_a_rule_are_counted_and_few_kept(tmp_path):
    path = write(tmp_path / "d.jsonl", [chat(user(f"q {n}?"), bot("<|im_end|>")) for n in range(300)])
    report = formats.check(path, formats.Asked(near=False))
    assert (len(report.findings), report.counts["control-token"]) == (100, 300)
    assert len(formats.check(path, formats.Asked(near=False, most=0)).findings) == 300


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINTUNE_HOME", str(tmp_path / "home"))
    return tiny.starter()


def test_tokens_are_those_of_the_trainer(tmp_path, model):
    from tuning import encode

    rows = [
        chat({"role": "system", "content": "짧게"}, user("몇 명이 뛰나요?"), bot("여섯 명")),
        chat(user("sky?"), bot("blue"), user("grass?"), bot("green")),
    ]
    report = formats.check(
        write(tmp_path / "d.jsonl", rows), formats.Asked(model="starter", price=2.0, epochs=3, rate=10.0)
    )
    expected = [len(encode.example(tiny.words(), row).ids) for row in rows]
    tokens = report.summary["tokens"]
    assert (tokens["total"], tokens["percentiles"]["p0"], tokens["percentiles"]["p100"]) == (
        sum(expected),
        min(expected),
        max(expected),
    )
    assert report.summary["cost"] == pytest.approx(sum(expected) * 3 * 2 / 1e6)
    assert report.summary["seconds"] == pytest.approx(sum(expected) * 3 / 10)
    assert tokens["by_role"]["assistant"] == sum(
        len(tiny.words().encode(t, add_special_tokens=False)) for t in ("여섯 명", "blue", "green")
    )
    assert rules(tmp_path / "d.jsonl", model="starter") == set()


def test_tokens_of_many_rows_are_each_row_s_own(tmp_path, model):
    from tuning import encode

    draw = random.Random(4)
    words = ["sky", "grass", "여섯", "명이", "뛰어요", "blue", "\n", "🙂"]
    texts = [[" ".join(draw.choices(words, k=draw.randint(1, 40))) for _ in range(2)] for _ in range(700)]
    rows = [chat(user(f"{n} {question}"), bot(answer)) for n, (question, answer) in enumerate(texts)]
    report = formats.check(
        write(tmp_path / "d.jsonl", rows), formats.Asked(model="starter", context=60, near=False, most=0)
    )
    expected = [len(encode.example(tiny.words(), row).ids) for row in rows]
    assert report.summary["tokens"]["total"] == sum(expected)
    told = [finding.line for finding in report.findings if finding.rule == "too-long"]
    assert told == [line for line, tokens in enumerate(expected, 1) if tokens > 60]
    assert 50 < len(told) < 650
    assert not {"prefix-unstable", "eos-unlearned"} & set(report.counts)
    alone = [sum(len(tiny.words().encode(m["content"], add_special_tokens=False)) for m in row["messages"] if m["role"] == "assistant") for row in rows]  # fmt: skip
    assert report.summary["tokens"]["learned"] == sum(alone)


def test_a_row_beyond_the_context_is_told_and_billed_up_to_it(tmp_path, model):
    path = write(
        tmp_path / "d.jsonl", [chat(user("sky? " * 3), bot("blue " * 200)), chat(user("sky? " * 200), bot("blue"))]
    )
    report = formats.check(path, formats.Asked(model="starter", price=1e6, epochs=1))
    assert [(f.line, f.rule) for f in report.findings if f.line] == [
        (1, "too-long"),
        (2, "too-long"),
        (2, "tokens-unlearned"),
    ]
    assert report.summary["cost"] == 2 * tiny.CONTEXT


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{% for m in messages %}{{ loop.revindex }}{{ m['content'] }}<|end|>{% endfor %}", "prefix-unstable"),
        ("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}", "eos-unlearned"),
        ("{{ raise_exception('roles must alternate') }}", "template-refuses"),
    ],
)  # fmt: skip
def test_a_template_that_spoils_training_is_told(tmp_path, model, template, rule):
    (model.path / "chat_template.jinja").write_text(template)
    assert rules(write(tmp_path / "d.jsonl", [chat(user(), bot())]), model="starter") == {rule}


def test_moderation_flags_rows_and_is_never_said_to_have_run_when_it_did_not(tmp_path):
    path = write(
        tmp_path / "d.jsonl", [chat(user(f"q {n}?"), bot("bad words" if n == 4 else "good")) for n in range(10)]
    )
    assert formats.check(path).moderation == "not configured"
    asked = formats.Asked(moderator=lambda text: ["hate"] if "bad" in text else [], moderator_name="judge")
    report = formats.check(path, asked)
    assert [(f.line, f.values["categories"]) for f in report.findings if f.rule == "flagged"] == [(5, "hate")]
    assert report.moderation == "1 of 10 rows flagged by judge"


BOMBS = {
    "keys.jsonl": lambda: b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}\n",
    "nest.jsonl": lambda: b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b"}\n",
    "nest.json": lambda: b"[" * 5000 + b"]" * 5000,
    "line.jsonl": lambda: b'{"text":"' + b"a" * 10**8 + b'"}\n{"text":"b"}\n',
    "line.json": lambda: b'[{"text":"' + b"a" * 10**8 + b'"},{"text":"b"}]',
    "line.csv": lambda: b"question,answer\n" + b"a" * 10**8 + b",b\n",
    "quote.csv": lambda: b'question,answer\n"' + b"a\n" * 5 * 10**7,
    "line.txt": lambda: b"a" * 10**8,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_named_within_ten_seconds_and_500_mb(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    code = (
        "import sys, resource\nfrom chains.errors import UsageError\nfrom tuning import formats\n"
        "try:\n    report = formats.check(sys.argv[1])\n    print(*sorted(report.counts))\n"
        "except UsageError as error:\n    print('refused', error)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(used.ru_utime + used.ru_stime, peak // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    said, numbers = done.stdout.splitlines()
    seconds, megabytes = numbers.split()
    assert any(rule in said for rule in ("too-many-keys", "too-deep", "too-long-line", "not-object", "refused"))
    assert float(seconds) < 10 and int(megabytes) < 500


def test_fix_repairs_what_is_safe_and_leaves_the_rest(tmp_path):
    good = json.dumps(chat(user("몇 명?"), bot("여섯")), ensure_ascii=False).encode()
    wrong = json.dumps(chat(user(), {"role": "bot", "content": "x"})).encode()
    path = tmp_path / "d.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf"
        + good
        + b"\r\n"
        + json.dumps(chat(user("a\x00b\x07"), bot())).encode()
        + b"\nnot json\n"
        + good
        + b"\n"
        + wrong
        + b"\n"
    )
    changes = []
    heard = []
    counts = formats.fix(path, tmp_path / "e.jsonl", (), changes.append, lambda *step: heard.append(step))
    assert heard == sorted(heard) and heard[-1] == (2 * path.stat().st_size,) * 2
    assert counts == {"bom": 1, "crlf": 1, "control-character": 1, "duplicate": 1}
    assert (tmp_path / "e.jsonl").read_bytes().splitlines() == [
        good,
        json.dumps(chat(user("ab"), bot()), separators=(",", ":")).encode(),
        b"not json",
        wrong,
    ]
    removed = next(change for change in changes if change.rule == "duplicate")
    assert next(removed.lines()) == "@@ 4 duplicate @@" and removed.after is None
    assert {"bom", "crlf", "nul", "control-character", "duplicate"} & set(
        formats.check(tmp_path / "e.jsonl").counts
    ) == set()
    with pytest.raises(UsageError, match="is the file that is checked"):
        formats.fix(path, path)


def test_writing_systems_have_korean_names(tmp_path):
    assert set(rules_text._SCRIPTS.values()) | {"other", "none"} == scripts.KOREAN.keys()
    rows = [chat(user("공은 어떻게 생겼나요?"), bot("The ball is round, of course."))]
    found = formats.check(write(tmp_path / "d.jsonl", rows)).findings
    (said,) = (one.said("ko") for one in found if one.rule == "language-mix")
    assert "질문은 한글, 답은 로마자입니다" in said


def test_fix_works_on_tables_and_arrays_too(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfquestion,answer\r\na\x07,b\r\nc,d\r\nc,d\r\n")
    assert formats.fix(tmp_path / "t.csv", tmp_path / "u.csv")["duplicate"] == 1
    assert (tmp_path / "u.csv").read_text() == "question,answer\na,b\nc,d\n"
    (tmp_path / "t.json").write_text('[{"text": "a"}, {"text": "a"}]')
    formats.fix(tmp_path / "t.json", tmp_path / "u.json")
    assert json.loads((tmp_path / "u.json").read_text()) == [{"text": "a"}]


def test_a_check_loads_neither_torch_nor_transformers(tmp_path, model):
    path = write(tmp_path / "d.jsonl", [chat(user(), bot())])
    code = "import sys\nfrom tuning import formats\nformats.check(sys.argv[1], formats.Asked(model='starter'))\nprint([m for m in ('torch', 'transformers', 'pandas') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data files are not here (shared/data)")
def test_the_cookbook_s_own_example_is_seen_as_its_readme_says():
    """Row 4 has no user message and row 5 is over-long."""
    report = formats.check(
        DATA / "finetune_samples/toy_chat_fine_tuning.jsonl",
        formats.Asked(model=str(DATA / "models/stories260K"), context=4096),
    )
    assert {(f.line, f.rule) for f in report.findings if f.line} == {(4, "user-missing"), (5, "too-long")}
    assert (report.summary["without_system"], report.summary["without_user"]) == (1, 1)  # as the notebook prints
