"""`assay keys`: manage API keys through the service; `reset-admin` works on the machine itself, without a key."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from api.commands.serve import Home, configured
from core.clock import Clock, SystemClock
from core.errors import InvalidError
from core.settings import Settings

if TYPE_CHECKING:
    from core.db import Database

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="what the key is for")],
    role: Annotated[str, typer.Option(help="producer, viewer, operator, validator, approver or admin")],
    owner: Annotated[
        str | None,
        typer.Option(help="the person who holds the key, kept in the ledger; needed to approve runs"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Create a key; it is shown once."""
    answer = client().json("POST", "/api/v1/keys", json={"name": name, "role": role, "owner": owner})
    if as_json:
        emit_json(answer)
    else:
        # A key is longer than 80 columns; wrapped, nobody could copy it.
        console.print(f"{answer['key']}\nShown this once; only its hash is kept.", markup=False, soft_wrap=True)
        if owner is None and role in ("operator", "approver", "admin"):
            console.print(
                "Nobody is declared to hold it, so it may not approve runs, and no run that it starts can be approved; "
                "declare who does: assay keys own "
                f"{answer['prefix']} --owner NAME", markup=False, soft_wrap=True,
            )  # fmt: skip


@app.command("list")
def list_keys(as_json: JsonFlag = False) -> None:
    """List keys by prefix, without secrets."""
    items = client().json("GET", "/api/v1/keys")["items"]
    if as_json:
        emit_json(items)
    else:
        emit_rows(
            items, ("prefix", "name", "role", "owner", "created_at", "revoked_at"), title="API keys", empty="No key."
        )


@app.command()
def own(
    prefix: Annotated[str, typer.Argument(help="prefix of the key, as `assay keys list` shows it")],
    owner: Annotated[str, typer.Option(help="the person who holds the key, kept in the ledger")],
    as_json: JsonFlag = False,
) -> None:
    """Declare the owner of a key that has none; a key keeps its owner."""
    answer = client().json("PATCH", f"/api/v1/keys/{quote(prefix, safe='')}", json={"owner": owner})
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{prefix} ({answer['name']}) belongs to {answer['owner']}.", markup=False)


@app.command()
def revoke(prefix: Annotated[str, typer.Argument(help="prefix of the key, as `assay keys list` shows it")]) -> None:
    """Revoke a key at once."""
    client().send("DELETE", f"/api/v1/keys/{quote(prefix, safe='')}")
    console.print(f"{prefix} is revoked.")


@app.command("sessions")
def list_sessions(as_json: JsonFlag = False) -> None:
    """List who is or was signed in to the pages, newest first."""
    items = client().json("GET", "/api/v1/sessions")["items"]
    if as_json:
        emit_json(items)
    else:
        columns = ("id", "name", "prefix", "state", "opened_at", "seen_at", "ended_because")
        items = [{**item, "id": item["id"][:8]} for item in items]  # whole, it leaves a terminal no room for the rest
        emit_rows(items, columns, title="Page sessions", empty="Nobody has signed in.")


@app.command("end-session")
def end_session(
    session: Annotated[str, typer.Argument(help="id, or how it begins, as `assay keys sessions` shows it")],
) -> None:
    """End a page session at once."""
    service, wanted = client(), session.strip().lower()
    found = [item["id"] for item in service.json("GET", "/api/v1/sessions")["items"] if item["id"].startswith(wanted)]
    if not wanted or len(found) > 1:
        raise InvalidError(
            f"several sessions have an id that begins with {session!r}; `assay keys sessions --json` shows them whole",
            field="session", value=session,
        )  # fmt: skip
    ended = found[0] if found else wanted  # one that is too old to be listed has to be named whole
    service.send("DELETE", f"/api/v1/sessions/{quote(ended, safe='')}")
    console.print(f"Session {ended} has ended.", markup=False)


@dataclass(frozen=True)
class _Keys:
    """What keys need of an installation; the service may run meanwhile."""

    database: "Database"
    clock: Clock


@app.command("reset-admin")
def reset_admin(home: Home = None, as_json: JsonFlag = False) -> None:
    """Make a new admin key on the machine of the installation, and revoke the old one; needs no key."""
    from sqlalchemy.exc import SQLAlchemyError

    from governance.access import api_keys

    settings = configured(home)
    database = existing_database(settings)
    try:
        row, key, revoked = api_keys.reset_admin(_Keys(database, SystemClock()))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise InvalidError(f"db.url: the database cannot be used: {reason}", field="db.url") from error
    finally:
        database.dispose()
    if as_json:
        emit_json({"key": key, "name": row.name, "prefix": row.prefix, "revoked": revoked})
        return
    console.print(key, markup=False, soft_wrap=True)
    console.print(f"Key {row.name}, shown this once; only its hash is kept. Revoked: {', '.join(revoked) or 'none'}.")


def existing_database(settings: Settings) -> "Database":
    """The database of an installation that exists; another path must not make a new one."""
    from core.db import Database  # SQLAlchemy takes long to import

    if settings.db.url is None and not (settings.home_dir / "assay.db").is_file():
        raise InvalidError(
            f"home: no installation at {settings.home_dir}; give its folder with --home or ASSAY_HOME", field="home",
            value=str(settings.home_dir),
        )  # fmt: skip
    return Database(settings.database_url)
