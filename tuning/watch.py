"""What held-out rows say of a model after each epoch of its training: its loss on them, the reward of its answers, the best weights so far.

InstructGPT chose its SFT models by the reward model's score of their answers, since the validation loss grows after the first epoch (C.1).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from chains.models import linear
from chains.models.engine import Engine, Request, Sampling
from chains.models.scorer import Scorer, load_scorer
from tuning import actors, adapter, base, encode, loop, placement
from tuning.configs import SFTConfig
from tuning.formats import Row

Loss = Callable[[], float]


class Watch:
    """Looks at a model when an epoch ends; what it has seen is in `state.numbers`, so that a resumed run has seen it too."""

    def __init__(
        self,
        config: SFTConfig,
        model: Any,
        tokenizer: Any,
        rows: Sequence[Row],
        loss: Loss | None,
        state: loop.State,
        run: Any,
    ) -> None:
        self.config, self.model, self.tokenizer = config, model, tokenizer
        self.prompts = [row["messages"][:-1] for row in rows]
        self.loss, self.state, self.folder = loss, state, run.folder
        self.scorer = self._scorer(config.reward_model, placement.of(model)) if config.reward_model else None
        self.samples: tuple[tuple[str, str], ...] = ()
        state.numbers.update(best=None, best_step=0, stale=0)

    def _scorer(self, name: str, device: torch.device) -> Scorer:
        if device.type == "cpu":
            return load_scorer(name)  # one copy for all that ask
        return actors.judge_of(base.load(name, "reward", device=device), "float32")

    def look(self, step: int) -> loop.Metrics:
        """Return what the held-out rows say after `step` steps; the weights are kept where they are the best so far."""
        found = {}
        if self.loss is not None:
            found["validation_loss"] = self.loss()
        if self.scorer is not None or self.config.samples:
            found |= self._ask()
        self._judge(found, step)
        return found

    def finished(self) -> bool:
        """Return whether the measure has not got better for `patience` epochs."""
        return self.config.patience is not None and self.state.numbers["stale"] >= self.config.patience

    def published(self) -> dict[str, Any]:
        """Put the best weights back where they are wanted, and return what `meta.json` says of them."""
        if self.config.publish == "last" or self.state.numbers["best"] is None:
            return {}
        loop.take_best(self.state, self.folder)
        best, step = self.state.numbers["best"], self.state.numbers["best_step"]
        return {"published": {"by": self._measure(), "value": best, "step": step}}

    def _measure(self) -> str:
        by_reward = self.config.publish == "reward" or (self.config.publish == "last" and self.loss is None)
        return "reward" if by_reward else "validation_loss"

    def _ask(self) -> loop.Metrics:
        asked = self.prompts if self.scorer else self.prompts[: self.config.samples]
        said = answers(self.model, self.tokenizer, asked, self.config.max_tokens)
        self.samples = tuple((prompt[-1]["content"], text) for prompt, text in zip(asked, said, strict=True))[
            : self.config.samples
        ]
        if self.scorer is None:
            return {}
        scores = self.scorer.score_many(list(zip(asked, said, strict=True)))
        return {"reward": sum(scores) / len(scores)}

    def _judge(self, found: loop.Metrics, step: int) -> None:
        seen, value = self.state.numbers, found.get(self._measure())
        if value is None or not math.isfinite(value):
            return
        better = seen["best"] is None or (value > seen["best"] if self._measure() == "reward" else value < seen["best"])
        if better:
            seen.update(best=value, best_step=step, stale=0)
            if self.config.publish != "last":
                loop.keep_best(self.state, self.folder)
        else:
            seen["stale"] += 1


def answers(model: Any, tokenizer: Any, prompts: Sequence[Sequence[Row]], max_tokens: int) -> list[str]:
    """Return the model's likeliest answer to each prompt; its training goes on as if it had not been asked."""
    training = model.training
    with placement.random_kept(placement.of(model)):
        engine = Engine(model.eval(), tokenizer)
        try:
            ids = [encode.render(tokenizer, prompt, prompt=True) for prompt in prompts]
            greedy = Sampling(max_tokens=max_tokens, temperature=0)
            name = adapter.NAME if adapter.on(model) else None
            done = engine.generate([Request(tuple(each), greedy, adapter=name) for each in ids])
            return [completion.text for completion in done]
        finally:
            engine.close()
            linear.forget(model)
            model.train(training)
