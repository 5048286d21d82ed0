"""`chaintune models`: what is in the registry."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import flags, reproduce, show
from chains.errors import UsageError
from chains.models import registry

app = typer.Typer(no_args_is_help=True, help="List, show, add and remove models.")

Name = Annotated[str, typer.Argument(help="The model's name, as `models list` shows it.")]


@app.command("list")
def list_models(json: flags.Json = False) -> None:
    """List the models on this machine.

    Example: chaintune models list
    """
    entries = registry.entries()
    if json:
        show.as_json([_row(entry) for entry in entries])
    elif entries:
        show.table(
            ["NAME", "KIND", "METHOD", "FROM"],
            [
                [
                    entry.name,
                    entry.kind,
                    entry.meta.get("method", ""),
                    entry.meta.get("base") or entry.meta.get("source") or "",
                ]
                for entry in entries
            ],
        )
    else:
        show.say("no models yet; `chaintune demo` makes one in a minute")


@app.command("show")
def show_model(name: Name, json: flags.Json = False) -> None:
    """Show what a model was made from, back to its first ancestor, and its numbers.

    Example: chaintune models show starter
    """
    row = {**_row(registry.find(name)), "lineage": _lineage(name)}
    if json:
        show.as_json(row)
    else:
        _print_tree({key: value for key, value in row.items() if key != "lineage"})
        show.say("lineage:")
        _print_lineage(row["lineage"], "  ")


@app.command("add")
def add_model(
    name: Annotated[str, typer.Argument(help="A short name of your own, such as qwen-small.")],
    source: Annotated[str, typer.Argument(help="A Hugging Face model folder, or a hub id such as org/model.")],
    json: flags.Json = False,
) -> None:
    """Give a Hugging Face model a short name; nothing is copied.

    Example: chaintune models add qwen-small Qwen/Qwen3-0.6B
    """
    entry = registry.add(name, source)
    show.as_json(_row(entry)) if json else show.say(
        f"{entry.name} now stands for {entry.source}"
        + ("" if Path(source).is_dir() else ", a model of the hub; there is no folder of that name here")
    )


@app.command("rm")
def remove_model(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: flags.Json = False,
) -> None:
    """Remove a model and its weights; of an added model, only the name.

    Example: chaintune models rm ft:starter:local:hobanne:a1b2c3d4 --yes
    """
    entry = registry.find(name)
    if not yes and not _confirmed(f"remove {name} ({entry.path})?"):
        raise UsageError(f"{name!r} was not removed; add --yes to remove it without being asked")
    registry.remove(name)
    show.as_json({"removed": name}) if json else show.say(f"removed {name}")


app.command("reproduce")(reproduce.reproduce)


def _confirmed(question: str) -> bool:
    return sys.stdin.isatty() and typer.confirm(question, err=True)


def _row(entry: registry.Entry) -> dict[str, Any]:
    return {"name": entry.name, "kind": entry.kind, "path": str(entry.path), "source": entry.source, "meta": entry.meta}


def _lineage(name: str, below: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return how a model was made and from which, as far back as the registry knows; `below` are those that it is an ancestor of."""
    try:
        meta = registry.find(name).meta if not name.startswith("hf:") and name not in below else {}
    except UsageError:
        return {"name": name, "method": "removed", "data": [], "parents": []}
    parents = [_lineage(parent, (*below, name)) for parent in meta.get("parents", [])]
    return {"name": name, "method": meta.get("method", "given"), "data": list(meta.get("data", {})), "parents": parents}


def _print_lineage(made: dict[str, Any], indent: str) -> None:
    read = f", {', '.join(made['data'])}" if made["data"] else ""
    show.say(f"{indent}{made['name']} ({made['method']}{read})")
    for parent in made["parents"]:
        _print_lineage(parent, indent + "  ")


def _print_tree(value: dict[str, Any], indent: str = "") -> None:
    for key, item in value.items():
        if isinstance(item, dict):
            show.say(f"{indent}{key}:")
            _print_tree(item, indent + "  ")
        else:
            show.say(f"{indent}{key}: {item}")
