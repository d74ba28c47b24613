"""`assay maintenance` and `assay deploy`: tell Assay what people and pipelines do to a model."""

from datetime import UTC
from typing import Annotated
from uuid import UUID

import typer

from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from core.clock import written_time
from core.errors import InvalidError

app = typer.Typer(no_args_is_help=True)


def moment(text: str, field: str) -> str:
    """A time as the API takes it; without a zone it is UTC.

    Raises:
        InvalidError: the text is no time.
    """
    try:
        at = written_time(text)
    except ValueError as error:
        raise InvalidError(f"{field} is {text!r}; write a time such as 2026-01-31T22:00Z", field=field) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


@app.command()
def add(
    to: Annotated[str, typer.Option(help="end, such as 2026-01-31T23:00Z")],
    reason: Annotated[str, typer.Option(help="reason, shown beside what was kept quiet")],
    model: Annotated[str | None, typer.Argument(help="name of the model; every model without it")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="beginning; now without it")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Declare a time in which alarms are recorded and not announced."""
    body = {"model": model, "to": moment(to, "to"), "reason": reason}
    if begin is not None:
        body["from"] = moment(begin, "from")
    answer = client().json("POST", "/api/v1/maintenance", json=body)
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{answer['id']}: {answer['model'] or 'every model'}, {answer['from']} to {answer['to']}")


@app.command("list")
def list_maintenance(as_json: JsonFlag = False) -> None:
    """List maintenance that lasts, is to come, or ended within 30 days."""
    items = client().json("GET", "/api/v1/maintenance")["items"]
    if as_json:
        emit_json(items)
        return
    columns = ("id", "model", "from", "to", "reason", "created_by", "ended_by")
    emit_rows(items, columns, title="Maintenance", empty="None.")


@app.command()
def end(maintenance: Annotated[UUID, typer.Argument(help="id, as `assay maintenance list` shows it")]) -> None:
    """End maintenance now, or cancel it."""
    client().send("DELETE", f"/api/v1/maintenance/{maintenance}")
    console.print(f"{maintenance} is over.")


def deploy(
    model: ModelName,
    version: Annotated[str, typer.Option(help="version that was put into service")],
    at: Annotated[str | None, typer.Option(help="when, such as 2026-01-31T22:00Z; now without it")] = None,
    note: Annotated[str | None, typer.Option(help="what changed, in a few words")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Record that a version was put into service; charts and messages show it."""
    body = {"version": version, "note": note} | ({"at": moment(at, "at")} if at is not None else {})
    answer = client().json("POST", f"{model_path(model)}/deploys", json=body)
    if as_json:
        emit_json(answer)
    else:
        console.print(f"{model}: {answer['version']} deployed {answer['at']}", markup=False)
