"""`chaintune jobs`: the fine-tuning jobs of the server, by the same queue, whether a server runs or not."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import flags, show
from apps.text import language, text
from chains.errors import UsageError

if TYPE_CHECKING:
    from apps.server.database import Database

app = typer.Typer(no_args_is_help=True, help="List, show, follow, cancel, pause and resume fine-tuning jobs.")
Job = Annotated[str, typer.Argument(help="The job's id, as `jobs list` shows it.")]
LOOK_S = 0.3


@app.command("list")
def list_jobs(lang: flags.Language = None, json: flags.Json = False) -> None:
    """List the jobs, newest first.

    Example: chaintune jobs list
    """
    from apps.server import queue

    rows = [queue.as_json(row) for row in queue.listed(_database())]
    if json:
        show.as_json(rows)
    elif rows:
        columns = ("id", "status", "method", "model", "fine_tuned_model")
        shown = [{**row, "method": row["method"]["type"]} for row in rows]
        show.table([name.upper() for name in columns], [[row[name] or "" for name in columns] for row in shown])
    else:
        show.say(text("jobs_none", language(lang)))


@app.command("show")
def show_job(job: Job, json: flags.Json = False) -> None:
    """Show a job as the server does.

    Example: chaintune jobs show ftjob-…
    """
    row = _job(_database(), job)
    if json:
        show.as_json(row)
        return
    for name, value in row.items():
        show.say(f"{name}: {value}")


@app.command("tail")
def tail_job(job: Job, json: flags.Json = False) -> None:
    """Print a job's events as they come, until it has ended or is paused.

    Example: chaintune jobs tail ftjob-…
    """
    from apps.server import queue

    db, told = _database(), 0
    while True:
        row = _job(db, job)
        found = [event for event in reversed(queue.events(db, job)) if event["place"] > told]
        for event in found:
            told = event["place"]
            show.note(event["message"]) if json else show.say(event["message"])
        if row["status"] not in queue.ACTIVE:
            break
        time.sleep(LOOK_S)
    if json:
        show.as_json(row)


@app.command("cancel")
def cancel_job(job: Job, json: flags.Json = False) -> None:
    """Cancel a job: at once where it waits, else at its next step.

    Example: chaintune jobs cancel ftjob-…
    """
    from apps.server import queue

    _change(job, queue.cancel, json)


@app.command("pause")
def pause_job(job: Job, json: flags.Json = False) -> None:
    """Pause a job at its next step; what it has learned is kept.

    Example: chaintune jobs pause ftjob-…
    """
    from apps.server import queue

    _change(job, queue.pause, json)


@app.command("resume")
def resume_job(job: Job, json: flags.Json = False) -> None:
    """Go on with a paused job, once a server runs.

    Example: chaintune jobs resume ftjob-…
    """
    from apps.server import queue

    _change(job, queue.resume, json)


def _change(job: str, change: "Callable[[Database, str], None]", json: bool) -> None:
    from apps.server.errors import ApiError

    db = _database()
    _job(db, job)
    try:
        change(db, job)
    except ApiError as error:
        raise UsageError(error.message) from None
    row = _job(db, job)
    show.as_json(row) if json else show.say(f"{job}: {row['status']}")


def _job(db: "Database", job: str) -> dict[str, Any]:
    from apps.server import queue
    from apps.server.errors import ApiError

    try:
        return queue.as_json(queue.get(db, job))
    except ApiError:
        raise UsageError(f"there is no job {job!r}; see: chaintune jobs list") from None


def _database() -> "Database":
    from apps.server.database import Database

    return Database()
