"""`assay keys`: manage API keys through the service; `reset-admin` works on the machine itself, without a key."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from api.commands.people import Models, RoleName, models_words, rights_words, scope
from api.commands.serve import Home, configured, existing_database
from core.clock import Clock, SystemClock, from_now
from core.errors import InvalidError

if TYPE_CHECKING:
    from core.db import Database

app = typer.Typer(no_args_is_help=True)
Prefix = Annotated[str, typer.Argument(help="prefix of the key, as `assay keys list` shows it")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="what the key is for")],
    role: Annotated[str, typer.Option(help="producer, viewer, operator, validator, approver, compliance or admin")],
    owner: Annotated[
        str | None,
        typer.Option(help="the person who holds the key, kept in the ledger; needed to approve runs"),
    ] = None,
    model: Models = None,
    expires: Annotated[str | None, typer.Option(help="the key ends after this time, such as 90d, or at one")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Create a key; it is shown once."""
    body = {"name": name, "role": role, "owner": owner, "models": model or None, "expires_at": _end(expires)}
    answer = client().json("POST", "/api/v1/keys", json=body)
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
        shown = [
            {**item, "models": models_words(item), "state": "revoked" if item["revoked_at"] else _ends(item)}
            for item in items
        ]
        columns = ("prefix", "name", "role", "models", "owner", "state")  # more would leave a terminal no room
        emit_rows(shown, columns, title="API keys", empty="No key.")


@app.command()
def own(
    prefix: Prefix,
    owner: Annotated[str, typer.Option(help="the person who holds the key, kept in the ledger")],
    as_json: JsonFlag = False,
) -> None:
    """Declare the owner of a key that has none; a key keeps its owner."""
    answer = client().json("PATCH", f"/api/v1/keys/{quote(prefix, safe='')}", json={"owner": owner})
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{prefix} ({answer['name']}) belongs to {answer['owner']}.", markup=False)


@app.command("role")
def change_role(prefix: Prefix, role: RoleName, as_json: JsonFlag = False) -> None:
    """Give a key another role; page sessions that it opened end."""
    _change(prefix, {"role": role}, as_json=as_json)


@app.command("scope")
def change_scope(
    prefix: Prefix, model: Models = None,
    everything: Annotated[bool, typer.Option("--all", help="all models")] = False,
    nothing: Annotated[bool, typer.Option("--none", help="no model")] = False,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Say which models a key is for; page sessions that it opened end."""
    _change(prefix, {"models": scope(model, everything=everything, nothing=nothing)}, as_json=as_json)


@app.command()
def rotate(
    prefix: Prefix,
    overlap: Annotated[
        str, typer.Option(help="for how long the old secret still opens, such as 24h; 30d at most")
    ] = "0s",
    expires: Annotated[str | None, typer.Option(help="another end of the key, such as 90d, or a time")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Give a key another secret, shown once; name, role, scope and owner stay."""
    body: dict[str, object] = {
        "overlap_s": 0 if overlap in ("0", "0s") else int(_span(overlap, "--overlap").total_seconds())
    }
    body |= {} if expires is None else {"expires_at": _end(expires)}
    answer = client().json("POST", f"/api/v1/keys/{quote(prefix, safe='')}/rotate", json=body)
    if as_json:
        emit_json(answer)
        return
    until = answer["earlier_until"]
    ends = f"The old secret opens until {until}." if until else "The old secret opens nothing any more."
    console.print(f"{answer['key']}\nShown this once; only its hash is kept. {ends}", markup=False, soft_wrap=True)


@app.command()
def revoke(prefix: Prefix) -> None:
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


def _change(prefix: str, body: dict[str, object], *, as_json: bool) -> None:
    answer = client().json("PATCH", f"/api/v1/keys/{quote(prefix, safe='')}", json=body)
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{prefix} ({answer['name']}) is {rights_words(answer)}.", markup=False)


def _ends(item: dict[str, Any]) -> str:
    return f"ends {item['expires_at'][:16]}" if item["expires_at"] else "in force"


def _span(text: str, option: str) -> timedelta:
    from monitor.spec.duration import duration

    try:
        return duration(text)
    except ValueError as error:
        raise InvalidError(f"{option}: {error}", field=option, value=text) from error


def _end(text: str | None) -> str | None:
    """When a key ends: a time as given, or so long from now."""
    if text is None or "T" in text or "-" in text:
        return text
    return from_now(SystemClock().now(), _span(text, "--expires")).isoformat()


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
