"""What may come next under a constraint, token by token, and that an engine's answers under one cannot be malformed."""

import datetime
import json
import re
from pathlib import Path

import jsonschema
import pydantic
import pytest
import torch
from transformers import AutoTokenizer

from chains.errors import ModelError, UsageError
from chains.models import constraint as constraints
from chains.models.constraint import Compiler, Constraint
from chains.models.engine import Engine, Request, Sampling
from chains.models.sampling import Draw, choose
from tests import tiny
from tests.bench.constrained import answers as random_answers
from tests.bench.constrained import fault
from tests.bench.schemas import KEYWORDS, REGEXES

STORIES = Path(__file__).parents[4] / "shared" / "data" / "models" / "stories260K"


@pytest.fixture(scope="module")
def engine():
    return Engine(tiny.model("llama", spread=0.3), tiny.words())


@pytest.fixture(scope="module")
def compiler():
    return Compiler(tiny.words(), len(tiny.words()), {tiny.words().eos_token_id})


def answers(engine, constraint, count=8, **settings):
    requests = [Request((5, 6), Sampling(seed=seed, max_tokens=80, **settings), constraint) for seed in range(count)]
    return [done.text for done in engine.generate(requests) if done.finish_reason == "stop"]


def takes(matcher, text):
    """Return whether `matcher` lets all of `text` through and may end after it."""
    for token in tiny.words().encode(text, add_special_tokens=False):
        if not matcher.allowed()[token]:
            return False
        matcher.take(token)
    return bool(matcher.allowed()[tiny.words().eos_token_id])


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (Constraint.regex("[0-9]{2,3}"), ["12", "123"], ["1", "1234", "1a", ""]),
        (Constraint.regex("[가-힣]{2,3}"), ["여섯", "빨간색"], ["여", "ab", "빨간색이"]),
        (Constraint.choice(["예", "예요", '"아니오"', "a|b\n"]), ["예", "예요", '"아니오"', "a|b\n"], ["요", "a", "아니오"]),
        (Constraint.grammar('start: "a" start "b" | "c"'), ["c", "acb", "aacbb"], ["acbb", "ab"]),
        (
            Constraint.json_schema({"type": "object", "properties": {"색": {"type": "string", "maxLength": 3}}, "required": ["색"], "additionalProperties": False}),
            ['{"색":"빨간색"}', '{"색":""}'],
            ['{"색": "빨간색"}', '{"색":"빨간색이"}', "{}", '{"색":1}', '{"색":"빨간색"} '],
        ),
    ],
)  # fmt: skip
def test_a_matcher_lets_through_exactly_the_texts_of_its_constraint(compiler, constraint, good, bad):
    for text in good:
        assert takes(compiler.matcher(constraint), text), text
    for text in bad:
        assert not takes(compiler.matcher(constraint), text), text


def test_a_finished_text_lets_only_the_end_come(compiler):
    matcher = compiler.matcher(Constraint.choice(["예"]))
    assert not matcher.finished
    for token in tiny.words().encode("예", add_special_tokens=False):
        matcher.take(token)
    assert matcher.finished
    assert matcher.allowed().nonzero()[:, 0].tolist() == [tiny.words().eos_token_id]


def test_a_token_that_is_not_allowed_is_refused(compiler):
    with pytest.raises(ModelError, match="the constraint cannot be followed any further"):
        compiler.matcher(Constraint.choice(["예"])).take(5)


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=4)
    age: int = pydantic.Field(ge=0, le=150)
    color: str | None = pydantic.Field(pattern="^(빨강|파랑)$")


def test_an_engines_answer_under_a_pydantic_model_is_one(engine):
    found = answers(engine, Constraint.json_schema(Person))
    assert len(found) >= 6
    for text in found:
        Person.model_validate_json(text)
        jsonschema.validate(json.loads(text), Person.model_json_schema())


def test_constrained_and_free_rows_share_a_batch(engine):
    colours = ["빨간색", "파란색", "노란색"]
    free = [Request((5, 6, seed), Sampling(seed=seed, max_tokens=12)) for seed in range(4)]
    bound = [Request((5, 6, seed), Sampling(seed=seed, max_tokens=30), Constraint.choice(colours)) for seed in range(4)]
    together = engine.generate([one for pair in zip(free, bound, strict=True) for one in pair])
    assert [done.token_ids for done in together[::2]] == [done.token_ids for done in engine.generate(free)]
    assert {done.text for done in together[1::2]} <= set(colours)


def test_random_schemas_get_no_malformed_answer():
    """A model of random weights is the hardest case; tests/bench/constrained.py does it a thousand times."""
    found = [(schema, text) for schema, text in random_answers(150, max_tokens=300) if text is not None]
    assert len(found) > 120
    assert [(schema, text, why) for schema, text in found if (why := fault(schema, text))] == []


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_is_held_or_refused(compiler, keyword):
    schema, good, bad = KEYWORDS[keyword]
    constraint = Constraint.json_schema(schema)
    if keyword in REFUSED:
        with pytest.raises(UsageError, match=f"the json_schema cannot be used: .*{REFUSED[keyword]}"):
            compiler.matcher(constraint)
    else:
        assert takes(compiler.matcher(constraint), good)
        assert not takes(compiler.matcher(constraint), bad)


REFUSED = {
    "propertyNames": "propertyNames",
    "minProperties": "minProperties 2 cannot be held, because a key could come twice",
    "dependentRequired": "dependentRequired",
    "uniqueItems": "uniqueItems",
    "contains": "contains",
    "oneOf, overlapping": "oneOf",
    "not": "not",
    "if, then": "if",
}


@pytest.mark.parametrize("feature", REGEXES)
def test_a_regex_is_held_or_refused(compiler, feature):
    pattern, good, bad = REGEXES[feature]
    if feature in ("lookahead", "word border", "backreference"):
        with pytest.raises(UsageError, match=r"look-around|lookarounds|backreferences"):
            compiler.matcher(Constraint.regex(pattern))
    else:
        assert takes(compiler.matcher(Constraint.regex(pattern)), good)
        assert not takes(compiler.matcher(Constraint.regex(pattern)), bad)


class Times(pydantic.BaseModel):
    day: datetime.date
    hour: datetime.time
    moment: datetime.datetime
    span: datetime.timedelta


def test_python_reads_every_time_that_comes(engine):
    constraint = Constraint.json_schema(Times)
    wide = tiny.model("llama", spread=0.3)
    wide.config.max_position_embeddings = 400
    requests = [Request((5, 6), Sampling(seed=seed, max_tokens=300), constraint) for seed in range(40)]
    found = [one.text for one in Engine(wide, tiny.words()).generate(requests) if one.finish_reason == "stop"]
    assert len(found) > 30
    for text in found:
        Times.model_validate_json(text)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("date", ["2024-02-29", "2000-02-29", "2023-12-31", "0001-01-01"], ["2023-02-29", "1900-02-29", "0000-01-01", "2023-04-31"]),
        ("time", ["23:59:59Z"], ["23:59:60Z"]),
        ("duration", ["P1Y2M3DT4H", "PT5S"], ["P99999Y"]),
    ],
)  # fmt: skip
def test_a_format_is_one_that_exists(compiler, kind, good, bad):
    constraint = Constraint.json_schema({"type": "string", "format": kind})
    for text in good:
        assert takes(compiler.matcher(constraint), f'"{text}"'), text
    for text in bad:
        assert not takes(compiler.matcher(constraint), f'"{text}"'), text


def test_an_object_is_closed_unless_it_says_otherwise(compiler):
    listed = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    closed, stray = '{"a":1}', '{"a":1,"b":2}'
    for schema, open_ in [
        (listed, False),
        ({"type": "array", "prefixItems": [listed]}, False),
        (listed | {"additionalProperties": True}, True),
        ({"allOf": [listed, {"properties": {"b": {}}, "required": ["b"]}]}, True),
        (listed | {"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"b": {}}}}}, True),
        (listed | {"required": ["a", "b"]}, True),
        ({"type": "object"}, True),
    ]:
        wrap = "[{}]" if schema.get("type") == "array" else "{}"
        assert takes(compiler.matcher(Constraint.json_schema(schema)), wrap.format(stray)) == open_, schema
        if not open_:
            assert takes(compiler.matcher(Constraint.json_schema(schema)), wrap.format(closed))


def test_what_a_schema_holds_as_data_is_left_as_it_is(compiler):
    data = {"properties": {"a": 1}, "format": "path", "minProperties": 9}
    assert takes(compiler.matcher(Constraint.json_schema({"const": data})), json.dumps(data, separators=(",", ":")))


def test_formats_that_every_text_has_ask_for_nothing(compiler):
    class Place(pydantic.BaseModel):
        where: Path

    assert takes(compiler.matcher(Constraint.json_schema(Place)), '{"where":"a/b"}')


def test_json_is_compact(compiler):
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 2}
    assert takes(compiler.matcher(Constraint.json_schema(schema)), "[1,2]")
    for text in (" [1,2]", "[ 1,2]", "[1, 2]", "[1,2]\n", "[1,\t2]"):
        assert not takes(compiler.matcher(Constraint.json_schema(schema)), text)


def test_no_special_token_comes_within_a_text(compiler):
    """Not even where its letters could: the grammar allows any text."""
    matcher = compiler.matcher(Constraint.regex("(.|\n)+"))
    special = tiny.words().all_special_ids
    assert len(special) > 1 and not matcher.allowed()[special].any()
    matcher.take(tiny.words().encode("a")[0])
    assert [token for token in special if matcher.allowed()[token]] == [tiny.words().eos_token_id]
    assert matcher.allowed().sum() > 250  # the bytes that can begin a character, and whole ones


def test_every_end_token_may_end_a_text():
    ends = {tiny.words().eos_token_id, tiny.words().pad_token_id}
    matcher = Compiler(tiny.words(), len(tiny.words()), ends).matcher(Constraint.choice(["a"]))
    matcher.take(tiny.words().encode("a")[0])
    assert set(matcher.allowed().nonzero()[:, 0].tolist()) == ends


def test_tokens_that_the_tokenizer_does_not_have_never_come():
    size = len(tiny.words()) + 75
    allowed = Compiler(tiny.words(), size, {0}).matcher(Constraint.regex("(.|\n)+")).allowed()
    assert allowed.shape == (size,) and not allowed[len(tiny.words()) :].any()


def test_a_character_over_several_byte_tokens_comes_whole():
    """The tokenizer has no token for these syllables, so that each is three tokens of a byte."""
    rare = "뷁쫓쬭"
    assert len(tiny.words().encode(rare)) >= 6
    engine = Engine(tiny.model("llama", spread=0.3), tiny.words())
    for constraint in (Constraint.choice([rare, rare[::-1]]), Constraint.regex(f"[{rare}]{{3}}")):
        for done in engine.generate([Request((5, 6), Sampling(seed=seed), constraint) for seed in range(6)]):
            assert done.finish_reason == "stop" and set(done.text) <= set(rare) and len(done.text) == 3


@pytest.mark.skipif(not STORIES.exists(), reason="the trained stories260K is not there")
@pytest.mark.parametrize(
    ("constraint", "fits"),
    [
        (Constraint.regex("[가-힣]{2,4}"), lambda text: re.fullmatch("[가-힣]{2,4}", text)),
        (Constraint.choice(["빨간색", "파란색", "a red ball"]), {"빨간색", "파란색", "a red ball"}.__contains__),
        (
            Constraint.json_schema({"type": "object", "properties": {"이름": {"type": "string", "maxLength": 8}}, "required": ["이름"]}),
            lambda text: isinstance(json.loads(text)["이름"], str),
        ),
    ],
)  # fmt: skip
def test_a_trained_model_with_a_byte_fallback_keeps_in_form(constraint, fits):
    from transformers import AutoModelForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(STORIES)
    engine = Engine(AutoModelForCausalLM.from_pretrained(STORIES).eval(), tokenizer)
    prompt = tuple(tokenizer.encode("Once upon a time, the ball was"))
    for done in engine.generate([Request(prompt, Sampling(seed=seed, max_tokens=60), constraint) for seed in range(8)]):
        assert done.finish_reason == "stop" and fits(done.text), done.text


def test_an_answer_that_max_tokens_cuts_says_length(engine):
    (done,) = engine.generate([Request((5, 6), Sampling(seed=1, max_tokens=5), Constraint.regex("[a-z]{40}"))])
    assert done.finish_reason == "length" and re.fullmatch("[a-z]+", done.text)


def test_a_bias_cannot_bring_back_what_the_constraint_forbids(engine):
    banned = tiny.words().encode("x")[0]
    sampling = Sampling(temperature=0, logit_bias={banned: 100}, max_tokens=30)
    (done,) = engine.generate([Request((5, 6), sampling, Constraint.choice(["예", "아니오"]))])
    assert done.text in ("예", "아니오")


def test_a_row_that_can_say_nothing_is_an_error_and_the_others_go_on(compiler):
    one = tiny.words().encode("a")[0]
    stuck = Draw(Sampling(logit_bias={one: -100}), (), compiler.matcher(Constraint.regex("a")))
    fine = Draw(Sampling(temperature=0), (), compiler.matcher(Constraint.regex("a")))
    first, second = choose(torch.zeros(2, len(tiny.words())), [stuck, fine])
    assert isinstance(first, ModelError) and "no token may come next" in str(first)
    assert second.token == one


def test_a_constraint_and_ignored_ends_do_not_go_together(compiler):
    with pytest.raises(UsageError, match="ignore_ends=True cannot be used with a constraint"):
        Draw(Sampling(ignore_ends=True), (), compiler.matcher(Constraint.regex("a")))


def test_a_grammar_is_compiled_once_and_each_row_has_its_own_progress(compiler):
    constraint = Constraint.choice(["가나", "다라"])
    first, second = compiler.matcher(constraint), compiler.matcher(Constraint.choice(["가나", "다라"]))
    before = second.allowed()
    for token in tiny.words().encode("가나", add_special_tokens=False):
        first.take(token)
    assert first.finished and not second.finished
    assert torch.equal(second.allowed(), before) and takes(second, "다라")


def test_old_grammars_make_room(monkeypatch):
    monkeypatch.setattr(constraints, "KEPT_GRAMMARS", 2)
    compiler, compiled = Compiler(tiny.words(), len(tiny.words()), {0}), []
    real = constraints.LLMatcher
    monkeypatch.setattr(constraints, "LLMatcher", Watched(real, compiled))
    for text in "abacab":  # b goes when c comes: a was used since
        assert takes(compiler.matcher(Constraint.choice([text])), text)
    assert len(compiled) == 4


class Watched:
    """Notes each grammar that is compiled."""

    def __init__(self, real, compiled):
        self.real, self.compiled = real, compiled
        self.grammar_from_lark = real.grammar_from_lark

    def __call__(self, tokenizer, grammar, **options):
        self.compiled.append(grammar)
        return self.real(tokenizer, grammar, **options)


@pytest.mark.parametrize("options", [[], ["a", ""]])
def test_choices_that_are_none_are_refused(options):
    with pytest.raises(UsageError, match="expected at least one, none of them empty"):
        Constraint.choice(options)


@pytest.mark.parametrize(
    ("constraint", "names"),
    [
        (Constraint.json_schema({"type": "array", "uniqueItems": True}), "uniqueItems"),
        (Constraint.json_schema({"not": {"type": "string"}}), "not"),
        (Constraint.json_schema({"type": "string", "pattern": "a(?=b)"}), "look-around"),
        (Constraint.regex("a(?=b)"), "look"),
        (Constraint.regex("("), "unclosed group"),
        (Constraint("json_schema", "[1"), "Expecting"),
        (Constraint("json_schema", "true"), "expected an object"),
        (Constraint.json_schema({"x-guidance": {"lenient": True}, "uniqueItems": True}), "x-guidance would loosen it"),
        (Constraint.json_schema({"$schema": "http://json-schema.org/draft-03/schema#"}), "draft 3"),
        (Constraint.json_schema({"type": "integer", "minimum": 2**53 + 1}), "minimum 9007199254740993 is beyond 2"),
        (Constraint.json_schema({"type": "string", "format": "json-pointer"}), "json-pointer"),
        (Constraint.json_schema({"type": "integer", "minimum": 5, "maximum": 3}), "Unsatisfiable"),
        (Constraint.json_schema({"$ref": "http://example.org/x"}), "example.org"),
        (Constraint.grammar('begin: "a"'), "start"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(compiler, constraint, names):
    with pytest.raises(UsageError, match=f"the {constraint.kind} .*{names}"):
        compiler.matcher(constraint)
