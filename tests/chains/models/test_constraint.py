"""What may come next under a constraint, token by token, and that an engine's answers under one cannot be malformed."""

import json

import jsonschema
import pydantic
import pytest

from chains.errors import ModelError, UsageError
from chains.models.constraint import Compiler, Constraint
from chains.models.engine import Engine, Request, Sampling
from tests import tiny


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


class Person(pydantic.BaseModel, extra="forbid"):
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


@pytest.mark.parametrize(
    ("constraint", "names"),
    [
        (Constraint.json_schema({"type": "array", "uniqueItems": True}), "uniqueItems"),
        (Constraint.json_schema({"not": {"type": "string"}}), "not"),
        (Constraint.json_schema({"type": "string", "pattern": "a(?=b)"}), "look-around"),
        (Constraint.regex("a(?=b)"), "look"),
        (Constraint.regex("("), "unclosed group"),
        (Constraint.grammar('begin: "a"'), "start"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(compiler, constraint, names):
    with pytest.raises(UsageError, match=f"the {constraint.kind} cannot be used: .*{names}"):
        compiler.matcher(constraint)
