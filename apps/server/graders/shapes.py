"""A grader as OpenAI's clients send it: a field that is not known is refused, and so is a reference to a name that never is."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from apps.server.chat_request import Body, Text
from apps.server.graders import formula, template

Template = Annotated[Text, Field(description="Text in which {{item.…}} and {{sample.…}} stand for what is graded.")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
METRICS = Literal[
    "cosine", "fuzzy_match", "bleu", "gleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
]
MOST_SOURCE = 2**18
MOST_GRADERS = 16


class _Compared(Body):
    """Two texts that are compared."""

    name: Name
    input: Template
    reference: Template

    @field_validator("input", "reference")
    @classmethod
    def _known(cls, text: str) -> str:
        return template.checked(text)


class StringCheck(_Compared):
    """1 where the texts are equal (eq), are not (ne), or the input holds the reference, by case (like) or without it (ilike)."""

    type: Literal["string_check"]
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(_Compared):
    """How near the texts are, 0 to 1."""

    type: Literal["text_similarity"]
    evaluation_metric: METRICS

    @field_validator("evaluation_metric", mode="before")
    @classmethod
    def _not_meteor(cls, metric: Any) -> Any:
        if metric == "meteor":
            raise ValueError(
                "meteor needs WordNet's synonyms, which are English alone and not here; use rouge_l or cosine"
            )
        return metric


class Part(Body):
    """A piece of a message: text alone."""

    type: Literal["input_text", "output_text"]
    text: Template


class Turn(Body):
    """One message that a reward model reads."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Template | Part | Annotated[list[Part], Field(min_length=1, max_length=64)]
    type: Literal["message"] = "message"

    @field_validator("content")
    @classmethod
    def _known(cls, content: Any) -> Any:
        for text in _texts(content):
            template.checked(text)
        return content

    @property
    def text(self) -> str:
        """The content as one text."""
        return "".join(_texts(self.content))


def _texts(content: str | Part | list[Part]) -> list[str]:
    return [
        each if isinstance(each, str) else each.text for each in (content if isinstance(content, list) else [content])
    ]


class ScoreModel(Body):
    """What a reward model of this server says of the last message, as the answer to those before it; kept within `range`."""

    type: Literal["score_model"]
    name: Name
    model: Name
    input: Annotated[list[Turn], Field(min_length=2, max_length=256)]
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _an_answer(self) -> "ScoreModel":
        if self.input[-1].role != "assistant":
            raise ValueError("the last message of 'input' is what is scored; give it the role 'assistant'")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("'range' is [lowest, highest], the first below the second")
        return self


class Python(Body):
    """A program with `def grade(sample, item) -> float`; it runs only where the server was started for it."""

    type: Literal["python"]
    name: Name
    source: Annotated[str, StringConstraints(min_length=1, max_length=MOST_SOURCE)]
    image_tag: str | None = None


Single = Annotated[StringCheck | TextSimilarity | ScoreModel | Python, Field(discriminator="type")]


class Multi(Body):
    """Several graders, and the formula that makes one number of theirs: `calculate_output` is over their keys."""

    type: Literal["multi"]
    name: Name
    graders: Annotated[dict[str, Single], Field(min_length=1, max_length=MOST_GRADERS)]
    calculate_output: Annotated[str, StringConstraints(min_length=1, max_length=formula.MOST_CHARACTERS)]

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        """Take one grader, too, as the client's types have it: its key is its name."""
        inner = given.get("graders") if isinstance(given, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("type"), str):
            return {**given, "graders": {str(inner.get("name")): inner}}
        return given

    @model_validator(mode="after")
    def _formula(self) -> "Multi":
        formula.parsed(self.calculate_output, set(self.graders))
        return self


Grader = Annotated[StringCheck | TextSimilarity | ScoreModel | Python | Multi, Field(discriminator="type")]


def singles(grader: Any) -> dict[str, Any]:
    """Return the graders that make numbers, by key: those of a multi grader, or the one itself under its name."""
    return dict(grader.graders) if isinstance(grader, Multi) else {grader.name: grader}


def texts(grader: Any) -> list[str]:
    """Return every text of the grader in which a reference may stand."""
    found: list[str] = []
    for single in singles(grader).values():
        if isinstance(single, ScoreModel):
            found += [turn.text for turn in single.input]
        elif isinstance(single, StringCheck | TextSimilarity):
            found += [single.input, single.reference]
    return found
