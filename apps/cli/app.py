"""The commands of `chaintune`, in the groups that its help shows. Nothing heavy is imported before a command runs."""

from typing import Annotated

import typer

from apps.cli import (
    api_keys,
    ask,
    chat,
    data,
    demo,
    doctor,
    evaluate,
    index,
    jobs,
    models,
    runs,
    sample,
    search,
    serve,
    train,
    ui,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Build a chatbot from chains, and tune the local model it calls, in one loop on one machine.\n\n"
    "Start with: chaintune demo",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("chaintune")
        except PackageNotFoundError:
            number = "(not installed)"
        print(f"chaintune {number}")
        raise typer.Exit()


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure. Works after any command too.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for name, function, panel in (
    ("demo", demo.demo, "Start"),
    ("doctor", doctor.doctor, "Start"),
    ("sample", sample.sample, "Start"),
    ("chat", chat.chat, "Chat"),
    ("ask", ask.ask, "Chat"),
    ("ui", ui.ui, "Chat"),
    ("serve", serve.serve, "Chat"),
    ("index", index.index, "Documents"),
    ("search", search.search, "Documents"),
):
    app.command(name, rich_help_panel=panel)(function)
app.add_typer(data.app, name="data", rich_help_panel="Tune")
app.add_typer(evaluate.app, name="eval", rich_help_panel="Tune")
train.add_to(app)
app.add_typer(models.app, name="models", rich_help_panel="Keep")
app.add_typer(runs.app, name="runs", rich_help_panel="Keep")
app.add_typer(jobs.app, name="jobs", rich_help_panel="Keep")
app.add_typer(api_keys.app, name="keys", rich_help_panel="Keep")
