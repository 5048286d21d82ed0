"""The whole loop on one small subject: documents, data, four models, chains, a report."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apps.demo import curves, data, measure, models, report
from apps.demo.sizes import FULL, QUICK, Sizes
from apps.demo.tour import tour
from apps.demo.words import WORDS
from apps.samples.hobanne.table import DATA, Groups, Question, groups
from chains.home import home
from chains.models import registry
from retrieval import Library
from tuning import formats

Say = Callable[[str], None]


def run(seed: int, out: Path, say: Say, bars: models.Bars, quick: bool = False, language: str = "en") -> dict[str, Any]:
    """Run the demo, write its data and report into `out`, and return every figure.

    The same seed gives the same figures. `quick` runs all of it at a size that teaches nothing, to see that it works.
    """
    began = time.monotonic()
    sizes, words = (QUICK if quick else FULL), WORDS[language]
    out.mkdir(parents=True, exist_ok=True)
    say(words["title"])
    with Library(home() / "demo-library") as library:
        with _timed(say, words):
            library.sync(DATA / "rulebook.*.md")
            say(words["library"].format(passages=library.stats()["passages"]))
        drawn = groups(seed, sizes.facts)
        files = data.paths(out)
        _write_data(files, drawn, library, say, words)
        made, accuracy = _tune(files, drawn, out, sizes, seed, say, bars, words)
        say(words["measure"])
        with _timed(say, words):
            table = measure.table(
                {label: made[label].name for label in ("starter", "SFT", "PPO")},
                made["reward model"].name,
                {name: _some(getattr(drawn, name), sizes) for name in report.GROUPS},
                seed,
                bars,
            )
        say("   " + report.verdict(table, words)[0])
        say("   " + words["small"])
        say(words["tour"])
        with _timed(say, words):
            toured = tour(made["PPO"].name, drawn, library, language)
            for step in toured:
                say(f"   {step['chain']}: {step['input']} -> {step['output']}")
            unseen = _some(drawn.unseen, sizes)
            quoted = measure.quotes(made["PPO"].name, library, unseen)
            say(words["quotes"].format(questions=len(unseen), right=quoted["all"]))
    facts = {
        "seed": seed,
        "models": {label: entry.name for label, entry in made.items()},
        "questions": {name: len(getattr(drawn, name)) for name in report.GROUPS} | {"hidden_facts": drawn.hidden},
        "reward_model": accuracy,
        "table": table,
        "quotes": quoted,
        "tour": toured,
        "report": str(out / "report.html"),
        "next": _next(made, language),
    }
    curves.draw(made, out / "curves.png")
    report.write(out / "report.html", facts, out / "curves.png", words, language)
    facts["seconds"] = round(time.monotonic() - began, 1)
    say(words["report"].format(path=out / "report.html"))
    return facts


def _write_data(files: data.Files, drawn: Groups, library: Library, say: Say, words: dict[str, str]) -> None:
    hidden = sum(question.fact in drawn.hidden for question in drawn.unseen)
    say(
        words["data"].format(
            questions=sum(len(getattr(drawn, name)) for name in report.GROUPS),
            shown=len(drawn.demonstrations),
            ranked=len(drawn.ranked),
            unseen=len(drawn.unseen),
            hidden=hidden,
            facts=len(drawn.hidden),
        )
    )
    retriever = library.as_retriever(k=1)
    keys = {data.article_key(question): question for question in drawn.demonstrations}
    passage = {key: retriever.invoke(f"{key} {question.text}")[0] for key, question in keys.items()}
    rows = data.demonstrations(drawn, passage)
    formats.write(files.demonstrations, rows)
    data.write_prompts(files.prompts, drawn.ranked)
    checked = formats.check(files.demonstrations)
    errors = sum(finding.level == "error" for finding in checked.findings)
    say(words["checked"].format(rows=checked.rows, errors=errors, warnings=len(checked.findings) - errors))


def _tune(
    files: data.Files,
    drawn: Groups,
    out: Path,
    sizes: Sizes,
    seed: int,
    say: Say,
    bars: models.Bars,
    words: dict[str, str],
) -> tuple[dict[str, registry.Entry], dict[str, float]]:
    """Return the four models by label, and the reward model's accuracy on held-out rankings."""
    with _timed(say, words):
        say(words["pretrain"])
        starter, fresh = models.starter(out, sizes, seed, bars)
        if not fresh:
            say(words["again"])
    made = {"starter": starter}
    with _timed(say, words):
        say(words["sft"])
        made["SFT"] = models.supervised(files, sizes, seed, bars)
        say(words["named"].format(name=made["SFT"].name))
    with _timed(say, words):
        say(words["rank"].format(k=sizes.answers))
        models.rankings(made["SFT"].name, drawn.ranked, files, sizes, seed, bars)
    with _timed(say, words):
        say(words["rm"])
        rm = made["reward model"] = models.reward_model(made["SFT"].name, files, sizes, seed, bars)
        say(words["named"].format(name=rm.name))
        accuracy = {"accuracy": rm.meta["held_out_pair_accuracy"], "pairs": rm.meta["held_out_pairs"]}
        say(words["rm_done"].format(**accuracy))
    with _timed(say, words):
        say(words["ppo"])
        made["PPO"] = models.reinforced(made["SFT"].name, rm.name, files, sizes, seed, bars)
        say(words["named"].format(name=made["PPO"].name))
    return made, accuracy


def _some(questions: list[Question], sizes: Sizes) -> list[Question]:
    """Return at most `sizes.measured` of the questions, spread evenly over them."""
    step = max(1, -(-len(questions) // sizes.measured))
    return questions[::step]


def _next(made: dict[str, registry.Entry], language: str) -> list[str]:
    question = "공이 밖으로 나가면 어떻게 되나요?" if language == "ko" else "What happens when the ball goes out?"
    return [
        f'chaintune ask "{question}" --library {home() / "demo-library"} --model {made["PPO"].name}',
        f"chaintune chat --model {made['PPO'].name}",
        f"chaintune ui --model {made['PPO'].name} --library {home() / 'demo-library'}",
        "chaintune models list",
    ]


@contextmanager
def _timed(say: Say, words: dict[str, str]) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(words["seconds"].format(seconds=time.monotonic() - began))
