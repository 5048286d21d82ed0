"""Steps 2 and 3 in rounds: «more comparison data is collected on the current best policy» (InstructGPT, arXiv 2203.02155, section 3.1).

    rounds.train(rounds.Config(policy=sft_model.name, prompts="prompts.jsonl", folder="loop", rounds=3, judge="gold-rm"))

A round samples answers from the last recommended policy, ranks them, trains a reward model on the rankings of all rounds so far, and a
policy by PPO; both start from `policy`, which is PPO's KL reference too. The new policy is recommended only where the interval of its win
rate against the last recommended one says that it is better; otherwise that one stays. What a round has done is in its folder, so that a
run that was stopped, or waits for a person's ranks, goes on with the same command.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from chains.errors import ModelError, UsageError
from chains.home import write_file
from chains.models import registry
from tuning import devices, formats, loop, placement, ppo, reward, winning
from tuning.configs import RoundsConfig as Config
from tuning.configs import check
from tuning.generate.ask import Asker
from tuning.generate.journal import Journal

__all__ = ["Config", "Verdict", "train"]

T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """How a round's policy did against the last recommended one, and which of them is recommended now."""

    round: int
    policy: str
    against: str
    win: winning.Win

    @property
    def recommended(self) -> str:
        """The policy that the next round's answers come from."""
        return self.policy if self.win.recommended else self.against


def train(
    config: Config,
    report: loop.Report = loop.silent,
    told: Callable[[Verdict], None] = lambda verdict: None,
) -> registry.Entry:
    """Do the rounds that are not done yet, and return the policy that is recommended: `config.policy` where no round's is better.

    `told` hears of every round's verdict. Raises UsageError where a round waits for a person's ranks, saying how to give them; the same
    call then goes on.
    """
    check(config)
    devices.join("loop")
    placement.place(config.device)
    registry.find(config.policy)
    prompts = formats.read_prompts(config.prompts)
    compared = formats.read_prompts(config.validation) if config.validation else prompts
    best = config.policy
    for number in range(1, config.rounds + 1):
        folder = Path(config.folder) / f"round-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        _ranked(config, folder, prompts, best, number)
        rankings = _together(config, number)
        judge = _once(folder, "reward_model", partial(_reward_model, config, rankings, report))
        made = _once(folder, "policy", partial(_policy, config, judge, number, report))
        found = _once(folder, "verdict", partial(_compared, config, folder, compared, (made, best), number))
        verdict = Verdict(number, made, best, winning.Win(**found["win"]))
        told(verdict)
        best = verdict.recommended
    return registry.find(best)


def _compared(
    config: Config, folder: Path, prompts: Sequence[list[formats.Row]], models: tuple[str, str], number: int
) -> dict[str, Any]:
    """Return the first model's win over the second, as the round's file keeps it: by the judge, or by a person's ranks."""
    pairs, ranked = folder / "pairs.jsonl", folder / "pairs.ranked.jsonl"
    if ranked.exists():
        return _kept(models, winning.labelled(str(ranked)))
    ours, theirs = (_likeliest(name, prompts, config) for name in models)
    rows = winning.pairs(prompts, ours, theirs, config.seed)
    if config.judge is not None:
        return _kept(models, winning.judged(rows, judges(config.judge)[1]))
    apart = [row for row, a, b in zip(rows, ours, theirs, strict=True) if a.strip() != b.strip()]
    if not apart:
        return _kept(models, winning.win(0, 0, len(rows)))
    formats.write(pairs, apart)
    raise UsageError(
        f"round {number} waits for a comparison of its policy with {models[1]}: "
        f"chaintune data label {pairs} --out {ranked}; then run the same command"
    )


def _kept(models: tuple[str, str], found: winning.Win) -> dict[str, Any]:
    return {"against": models[1], "recommended": models[0 if found.recommended else 1], "win": asdict(found)}


def _likeliest(name: str, prompts: Sequence[list[formats.Row]], config: Config) -> list[str]:
    from tuning.generate import ask

    return ask.texts(_asker(name, config).ask(prompts, temperature=0.0, max_tokens=config.max_tokens))


def _asker(policy: str, config: Config) -> Asker:
    from chains import load_model

    return Asker(load_model(policy, device=config.device) if config.device else load_model(policy))


def _ranked(config: Config, folder: Path, prompts: Sequence[list[formats.Row]], policy: str, number: int) -> None:
    """Make the round's rankings.jsonl, unless it is there."""
    answers, rankings = folder / "answers.jsonl", folder / "rankings.jsonl"
    if rankings.exists():
        return
    if not answers.exists():
        _sample(config, answers, prompts, policy, number)
    if config.judge is None:
        raise UsageError(
            f"round {number} waits for ranks: chaintune data label {answers} --out {rankings}; then run the same command"
        )
    _judge(config, answers, rankings)


def _sample(config: Config, out: Path, prompts: Sequence[list[formats.Row]], policy: str, number: int) -> None:
    from tuning.generate import rank

    settings = {"maker": "loop", "policy": policy, "prompts": config.prompts, "k": config.answers, "seed": config.seed}
    with Journal(out, settings) as journal:
        made = rank.sample(
            _asker(policy, config), prompts, journal, k=(config.answers, config.answers),
            seed=config.seed + number, max_tokens=config.max_tokens,
        )  # fmt: skip
        if not made.rows:
            raise ModelError(
                f"{policy} gave fewer than two different answers to every prompt; there is nothing to rank"
            )
        journal.finish(made.rows)


def _judge(config: Config, answers: Path, out: Path) -> None:
    from tuning.generate import judge as judging

    rows = [row for _, row in formats.read(answers)]
    asker, by = judges(str(config.judge))
    with Journal(out, {"maker": "judge", "judge": config.judge, "rows": len(rows)}) as journal:
        made = judging.judge(by, rows, journal, asker)
        if not made.rows:
            raise ModelError(f"{config.judge} ranked no answer above another in {len(rows)} rows; name another judge")
        journal.finish(made.rows)


def judges(name: str, asks: Callable[[str], Asker] | None = None) -> tuple[Asker | None, Any]:
    """Return what ranks rows by the model `name`: a reward model by its scores, a chat model, which `asks` loads, by comparing."""
    from chains import load_model, load_scorer
    from tuning.generate import judge as judging

    if any(entry.name == name and entry.kind == "reward" for entry in registry.entries()):
        return None, judging.by_reward(load_scorer(name))
    asker = asks(name) if asks else Asker(load_model(name))
    return asker, judging.by_chat(asker)


def _together(config: Config, number: int) -> str:
    """Write the rankings of every round so far as one file, and return its path."""
    folders = [Path(config.folder) / f"round-{n}" for n in range(1, number + 1)]
    rows = [row for folder in folders for row in formats.read_rankings(folder / "rankings.jsonl")]
    out = folders[-1] / "rankings.all.jsonl"
    formats.write(out, rows)
    return str(out)


def _reward_model(config: Config, rankings: str, report: loop.Report) -> str:
    settings = reward.Config(
        config.policy, rankings, suffix=f"{config.suffix}-rm", epochs=config.reward_epochs,
        learning_rate=config.reward_learning_rate, seed=config.seed, device=config.device, tensorboard=config.tensorboard,
    )  # fmt: skip
    return reward.train(settings, report).name


def _policy(config: Config, judge: str, number: int, report: loop.Report) -> str:
    settings = ppo.Config(
        config.policy, judge, config.prompts, ptx=config.ptx, ptx_coefficient=config.ptx_coefficient,
        suffix=config.suffix, iterations=config.iterations, batch_size=config.batch_size,
        minibatch_size=config.minibatch_size, max_tokens=config.max_tokens, learning_rate=config.learning_rate,
        kl_coefficient=config.kl_coefficient, seed=config.seed + number, device=config.device, tensorboard=config.tensorboard,
    )  # fmt: skip
    return ppo.train(settings, report).name


def _once(folder: Path, what: str, make: Callable[[], T]) -> T:
    """Return what this round made as `what`: a model's name, or a verdict; it is made where it was not."""
    file = folder / "models.json"
    made: dict[str, T] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if what not in made:
        made[what] = make()
        write_file(file, json.dumps(made).encode())
    return made[what]
