"""`assay people`: who may do what, through the service; `reset-password --home` works on the machine, without a key."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from api.commands.serve import Home, configured, existing_database
from core.clock import SystemClock
from core.errors import InvalidError

app = typer.Typer(no_args_is_help=True)
Who = Annotated[str, typer.Argument(help="id of the person, as `assay people list` shows it")]
RoleName = Annotated[str, typer.Argument(help="producer, viewer, operator, validator, approver, compliance or admin")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="a model the person is for; again for more; without it, all")
]
COLUMNS = ("id", "name", "role", "models", "state")


def scope(models: list[str] | None, *, everything: bool = False, nothing: bool = False) -> list[str] | None:
    """The scope that options mean: None for all models.

    Raises:
        InvalidError: two of the options contradict each other, or none is given.
    """
    if sum((bool(models), everything, nothing)) != 1:
        raise InvalidError("give one of --model NAME (again for more), --all and --none", field="model")
    return None if everything else list(models or [])


@app.command()
def add(
    who: Annotated[str, typer.Argument(metavar="ID", help="kept in the ledger: a handle such as ada.lovelace")],
    role: Annotated[str, typer.Option(help="producer, viewer, operator, validator, approver, compliance or admin")],
    model: Models = None,
    name: Annotated[str | None, typer.Option(help="kept outside the ledger")] = None,
    email: Annotated[
        str | None, typer.Option(help="kept outside the ledger; a provider's account is found by it")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Declare a person; `reset-password` then gives a way in, unless people sign in through a provider."""
    body = {"id": who, "role": role, "models": model or None, "name": name, "email": email}
    answer = client().json("POST", "/api/v1/people", json=body)
    _said(answer, f"{answer['id']} is declared, {rights_words(answer)}.", as_json=as_json)


@app.command("list")
def list_people(as_json: JsonFlag = False) -> None:
    """List people with their rights and their last sign-in."""
    items = client().json("GET", "/api/v1/people")["items"]
    if as_json:
        emit_json(items)
        return
    shown = [
        {**item, "models": models_words(item), "state": "disabled" if item["disabled_at"] else "in force"}
        for item in items
    ]
    emit_rows(shown, COLUMNS, title="People", empty="Nobody is declared; `assay people add` does so.")


@app.command()
def role(who: Who, role: RoleName, as_json: JsonFlag = False) -> None:
    """Give a person another role; open sessions end."""
    _change(who, {"role": role}, as_json=as_json)


@app.command("scope")
def change_scope(
    who: Who, model: Models = None,
    everything: Annotated[bool, typer.Option("--all", help="all models")] = False,
    nothing: Annotated[bool, typer.Option("--none", help="no model")] = False,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Say which models a person is for; open sessions end."""
    _change(who, {"models": scope(model, everything=everything, nothing=nothing)}, as_json=as_json)


@app.command()
def address(
    who: Who,
    email: Annotated[
        str | None, typer.Option(help="an account of the provider with it is this person; without: none")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say which account of the provider is a person's, by the address that the provider has checked."""
    _change(who, {"email": email}, as_json=as_json)


@app.command()
def disable(who: Who, as_json: JsonFlag = False) -> None:
    """Let a person do nothing any more: sessions and keys of the person end at once."""
    _change(who, {"disabled": True}, as_json=as_json)


@app.command()
def enable(who: Who, as_json: JsonFlag = False) -> None:
    """Let a disabled person sign in again, with the rights of before."""
    _change(who, {"disabled": False}, as_json=as_json)


@app.command("reset-password")
def reset(
    who: Who,
    home: Home = None,
    as_json: JsonFlag = False,
    here: Annotated[
        bool, typer.Option("--here", help="on the machine of the installation, without a key; the ledger says so")
    ] = False,
) -> None:
    """Give a temporary password, shown once; the person sets another and a second factor at the next sign-in."""
    if here or home is not None:
        answer = _reset_here(who, home)
    else:
        answer = client().json("POST", f"/api/v1/people/{quote(who, safe='')}/reset-password")
    said = (
        f"{answer['password']}\nTemporary password of {who}, shown this once; it opens for {answer['hours']:g} hours."
    )
    _said(answer, said, as_json=as_json)


@app.command()
def review(
    as_csv: Annotated[bool, typer.Option("--csv", help="as CSV")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print who may do what, since when, by whom, last used: every person and key."""
    if as_csv:
        answer = client().send("GET", "/api/v1/people/review", params={"format": "csv"})
        typer.echo(answer.text, nl=False)
        return
    found = client().json("GET", "/api/v1/people/review")
    if as_json:
        emit_json(found)
        return
    shown = [{**item, "models": models_words(item)} for item in found["items"]]
    columns = ("kind", "id", "person", "role", "models", "state")
    emit_rows(shown, columns, title="Access review", empty="Nobody.")


def _change(who: str, body: dict[str, Any], *, as_json: bool) -> None:
    answer = client().json("PATCH", f"/api/v1/people/{quote(who, safe='')}", json=body)
    state = "disabled" if answer["disabled_at"] else "in force"
    _said(answer, f"{answer['id']} is {state}, {rights_words(answer)}.", as_json=as_json)


def models_words(item: dict[str, Any]) -> str:
    return "all" if item["models"] is None else ", ".join(item["models"]) or "none"


def rights_words(item: dict[str, Any]) -> str:
    models = "all models" if item["models"] is None else ", ".join(item["models"]) or "no model"
    return f"{item['role']} for {models}"


def _said(answer: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(answer)
    else:
        console.print(words, markup=False, soft_wrap=True)


def _reset_here(who: str, home: Path | None) -> dict[str, Any]:
    from sqlalchemy.exc import SQLAlchemyError

    from governance.access.sign_in import TEMPORARY_FOR, reset_password
    from governance.ledger.append import SYSTEM_ACTOR
    from governance.ledger.keys import session_key

    settings = configured(home)
    database, key = existing_database(settings), session_key(settings.home_dir)
    try:
        with database.write() as db:
            password = reset_password(db, who, key=key, actor=SYSTEM_ACTOR, now=SystemClock().now())
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise InvalidError(f"db.url: the database cannot be used: {reason}", field="db.url") from error
    finally:
        database.dispose()
    return {"person": who, "password": password, "hours": TEMPORARY_FOR.total_seconds() / 3600}
