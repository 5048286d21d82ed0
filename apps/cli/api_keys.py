"""`chaintune keys`: who may use the server from elsewhere."""

import time
from typing import Annotated

import typer

from apps.cli import flags, show
from apps.text import language, text

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the server's API keys.")


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose key it is, for you to know it by.")] = "",
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Make a key; it is shown this once, and only its hash is kept.

    Example: chaintune keys create laptop
    """
    from apps.server import keys
    from apps.server.database import Database

    key_id, key = keys.create(Database(), name)
    if json:
        show.as_json({"id": key_id, "name": name, "key": key})
        return
    show.say(key)
    show.note(text("key_once", language(lang)))


@app.command("list")
def list_keys(json: flags.Json = False) -> None:
    """List the keys, without the keys themselves.

    Example: chaintune keys list
    """
    from apps.server import keys
    from apps.server.database import Database

    rows = keys.listed(Database())
    if json:
        show.as_json(rows)
    else:
        show.table(["ID", "NAME", "CREATED", "REVOKED"],
                   [[row["id"], row["name"], _day(row["created_at"]), _day(row["revoked_at"])] for row in rows])  # fmt: skip


@app.command("revoke")
def revoke_key(key: Annotated[str, typer.Argument(help="The key's id.")], json: flags.Json = False) -> None:
    """Let a key open nothing any more, at once.

    Example: chaintune keys revoke 3f0c…
    """
    from apps.server import keys
    from apps.server.database import Database

    keys.revoke(Database(), key)
    show.as_json({"revoked": key}) if json else show.say(f"revoked {key}")


def _day(seconds: int | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d", time.localtime(seconds))
