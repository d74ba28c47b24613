"""`assay hold`: keep rows against retention and erasure, for a claim or an authority."""

from typing import Annotated, Any

import typer

from api.commands.erase import subject_of
from api.commands.maintenance import moment
from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows

app = typer.Typer(no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="reason, kept in the ledger; no personal data")]


@app.command()
def add(
    model: Annotated[str, typer.Option(help="name of the model")],
    reason: Reason,
    begin: Annotated[str | None, typer.Option("--from", help="first time of events, such as 2026-01-01")] = None,
    end: Annotated[str | None, typer.Option("--to", help="last time of events, such as 2026-03-31")] = None,
    subject: Annotated[
        str | None, typer.Option(help="keep one person's rows only; the shell history keeps it: prefer --subject-file")
    ] = None,
    subject_file: Annotated[
        str | None, typer.Option(help="file whose one line is the subject; - reads standard input")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Keep rows of a model until the hold is released."""
    body: dict[str, Any] = {"model": model, "reason": reason}
    body |= {"from": moment(begin, "from")} if begin is not None else {}
    body |= {"to": moment(end, "to")} if end is not None else {}
    if subject is not None or subject_file is not None:
        body["subject"] = subject_of(subject, subject_file)
    _tell(client().json("POST", "/api/v1/holds", json=body), as_json)


@app.command("list")
def list_holds(as_json: JsonFlag = False) -> None:
    """List legal holds, released ones too."""
    items = client().json("GET", "/api/v1/holds")["items"]
    if as_json:
        emit_json(items)
        return
    columns = ("id", "model", "from", "to", "reason", "added_by", "released_by")
    emit_rows(items, columns, title="Legal holds", empty="None.")


@app.command()
def release(
    hold: Annotated[int, typer.Argument(help="id, as `assay hold list` shows it")],
    reason: Reason,
    as_json: JsonFlag = False,
) -> None:
    """Release a hold: retention and erasure go on."""
    _tell(client().json("POST", f"/api/v1/holds/{hold}/release", json={"reason": reason}), as_json)


def _tell(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(answer)
        return
    whom = "one person's rows" if answer["subject"] else "rows"
    span = f", from {answer['from']}" if answer["from"] else ""
    span += f", to {answer['to']}" if answer["to"] else ""
    state = "released" if answer["released_at"] else "in force"
    console.print(
        f"Legal hold {answer['id']} of {whom} of {answer['model']}{span} is {state}.", markup=False, soft_wrap=True
    )
