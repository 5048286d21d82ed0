"""What the commands that make data share: the model and its price, the journal, the bar, and the word on where texts are sent."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import show
from apps.cli.data.reasons import reason as in_words
from apps.text import text

if TYPE_CHECKING:
    from tuning.generate.ask import Asker

Out = Annotated[
    Path, typer.Option("--out", "-o", help="The JSONL file to write; beside it stands FILE.part until it is done.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of every draw.")]
AtOnce = Annotated[int, typer.Option("--at-once", min=1, max=4096, help="How many prompts are asked together.")]
PriceIn = Annotated[float, typer.Option("--price-in", min=0.0, help="Dollars for a million tokens read.")]
PriceOut = Annotated[float, typer.Option("--price-out", min=0.0, help="Dollars for a million tokens written.")]


@dataclass
class Making:
    """A maker at work: the models that it asks, and the words that it reports in."""

    words: str
    label: str
    price_in: float = 0.0
    price_out: float = 0.0
    begun: float = field(default_factory=time.perf_counter)
    _told: set[str] = field(default_factory=set)

    def asker(self, model: str, **settings: Any) -> "Asker":
        """Return the model `model` to ask; where it is not on this machine, that is said once."""
        from chains import load_model
        from tuning.generate.ask import Asker, Usage, destination

        llm = load_model(model, **settings)
        host = destination(llm)
        if host and host not in self._told:
            self._told.add(host)
            show.note(text("make_sent", self.words, host=host, model=model))
        return Asker(llm, Usage(price_in=self.price_in, price_out=self.price_out))

    @contextmanager
    def bar(self, out: Path) -> Iterator[show.Advance]:
        """Yield what moves the bar; an interrupt says how to go on."""
        try:
            with show.progress(self.label) as advance:
                yield advance
        except KeyboardInterrupt:
            show.note("\n" + text("make_interrupted", self.words, part=f"{out}.part"))
            raise

    def report(
        self,
        out: Path,
        rows: int,
        wanted: int,
        dropped: Mapping[str, int],
        asker: "Asker | None",
        json: bool,
        made: int | None = None,
    ) -> None:
        """Print how it went: rows, what was dropped and why, tokens, cost, seconds.

        `made` of `wanted` things were made where a thing may be several rows; `asker` is None where no chat model was asked.
        """
        from tuning.generate.ask import Usage

        usage = asker.usage if asker else Usage()
        if asker and asker.left_out:
            show.note(text("make_left_out", self.words, settings=", ".join(sorted(asker.left_out))))
        seconds = round(time.perf_counter() - self.begun, 1)
        if json:
            facts = {"file": str(out), "rows": rows, "wanted": wanted, "dropped": dict(dropped)}
            show.as_json(
                {
                    **facts,
                    "usage": usage.as_json(),
                    "left_out": sorted(asker.left_out if asker else ()),
                    "seconds": seconds,
                }
            )
            return
        show.say(text("make_done", self.words, file=out, rows=rows, usage=usage, seconds=seconds))
        done = rows if made is None else made
        if done < wanted:
            show.note(text("make_short", self.words, rows=done, wanted=wanted))
        for reason, count in sorted(dropped.items(), key=lambda item: -item[1]):
            show.say(text("make_dropped", self.words, count=count, reason=in_words(reason, self.words)))


def fingerprint(parts: Iterable[str]) -> str:
    """Return a short hash of texts, by which a journal knows that its input is still the same."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return whole.hexdigest()[:16]
