"""The body of a new fine-tuning job: the method, its hyperparameters within OpenAI's ranges, and for reinforcement the grader."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from apps.server.chat_request import Body
from apps.server.graders.shapes import Grader

Auto = Literal["auto"]


class Hyperparameters(Body):
    """How to train; 'auto' is decided from the data."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=1000)] = "auto"


class PreferenceHyperparameters(Hyperparameters):
    """DPO's own beside them."""

    beta: Auto | Annotated[float, Field(gt=0, le=2)] = "auto"


class ReinforcementHyperparameters(Hyperparameters):
    """GRPO's own beside them: 8 x compute_multiplier answers to a prompt, and how often and how much the validation file is asked."""

    compute_multiplier: Auto | Annotated[float, Field(ge=0.25, le=10)] = "auto"
    eval_interval: Auto | Annotated[int, Field(ge=1)] = "auto"
    eval_samples: Auto | Annotated[int, Field(ge=1, le=10)] = "auto"
    reasoning_effort: Literal["default"] = "default"
    max_tokens: Auto | Annotated[int, Field(ge=1, le=4096)] = "auto"


class Supervised(Body):
    """The supervised method's own part."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Preference(Body):
    """DPO's own part."""

    hyperparameters: PreferenceHyperparameters = PreferenceHyperparameters()


class Reinforcement(Body):
    """The reinforcement method's own part."""

    grader: Grader
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()


class Method(Body):
    """How the model learns."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Preference | None = None
    reinforcement: Reinforcement | None = None

    @model_validator(mode="after")
    def _one(self) -> "Method":
        parts = {"supervised": self.supervised, "dpo": self.dpo, "reinforcement": self.reinforcement}
        other = next((name for name, part in parts.items() if part is not None and name != self.type), None)
        if other:
            raise ValueError(f"the method is {self.type!r}, so {other!r} would do nothing; leave it out")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("a reinforcement method needs a grader: 'reinforcement': {'grader': …}")
        return self


class JobRequest(Body):
    """The body of a new job."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, StringConstraints(max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    integrations: Annotated[list[Any], Field(max_length=0)] | None = None
    metadata: dict[
        Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]
    ] | None = Field(None, max_length=16)  # fmt: skip

    @property
    def kind(self) -> str:
        """The method's name."""
        return self.method.type if self.method else "supervised"

    @property
    def grader(self) -> Any:
        """The reinforcement method's grader, else None."""
        return self.method.reinforcement.grader if self.method and self.method.reinforcement else None

    @property
    def chosen(self) -> dict[str, Any]:
        """The method's hyperparameters, with those at the top, where older clients put them, in place of what it leaves open."""
        part: Any = getattr(self.method, self.kind) if self.method else None
        own = part.hyperparameters if part else _EMPTY[self.kind]()
        top = self.hyperparameters.model_dump(exclude_unset=True) if self.hyperparameters else {}
        return {**own.model_dump(), **{name: value for name, value in top.items() if name not in own.model_fields_set}}


_EMPTY: dict[str, type[Hyperparameters]] = {"supervised": Hyperparameters, "dpo": PreferenceHyperparameters}
