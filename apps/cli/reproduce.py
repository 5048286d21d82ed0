"""`chaintune models reproduce`: a model made again from its own record, and whether it came out the same."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli import flags, show, train
from apps.text import language

if TYPE_CHECKING:
    from tuning.reproduce import Difference

WORDS = {
    "en": {
        "differs": "{what}: {then} when the model was made, {now} here; the weights may differ in their last bits",
        "same": "{again} has the weights of {name}, bit for bit",
        "other": "{again} has other weights than {name}",
    },
    "ko": {
        "differs": "{what}: 모델을 만들 때는 {then}, 지금은 {now}입니다. 가중치의 마지막 자리가 다를 수 있습니다",
        "same": "{again}의 가중치는 {name}과(와) 비트까지 같습니다",
        "other": "{again}의 가중치는 {name}과(와) 다릅니다",
    },
}


def reproduce(
    name: Annotated[str, typer.Argument(help="The model's name, as `models list` shows it.")],
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Make a model again from its record (configuration, data, seed, parents) under a new name, and say whether the weights are the same.

    Data that changed is refused; other versions of the libraries are said beforehand. Exits 1 where the weights differ.

    Example: chaintune models reproduce starter
    """
    words = WORDS[language(lang)]
    from tuning import reproduce as making

    def differs(found: "Difference") -> None:
        show.note(words["differs"].format(**asdict(found)))

    made = train.shown("reproduce", lambda report: making.train(name, report, differs))
    if json:
        facts = {"name": made.again.name, "original": name, "identical": made.identical}
        show.as_json({**facts, "differences": [asdict(found) for found in made.differences]})
    else:
        show.say(words["same" if made.identical else "other"].format(name=name, again=made.again.name))
    if not made.identical:
        raise typer.Exit(1)
