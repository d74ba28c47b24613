"""`assay serious`: serious incidents, their deadlines, and what authorities were told."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from api.commands.models import ModelName, Reason, client, model_path, whole_id
from api.commands.output import JsonFlag, console, emit_json, emit_rows

app = typer.Typer(no_args_is_help=True)
SeriousId = Annotated[str, typer.Argument(help="id, or its beginning, as `assay serious list` shows it")]
KindOption = Annotated[str, typer.Option(help="death (10 days), widespread (2 days) or other (15 days)")]


def _path(model: str) -> str:
    return f"{model_path(model)}/serious-incidents"


@app.command("list")
def list_serious(model: ModelName, as_json: JsonFlag = False) -> None:
    """List the serious incidents of a model with their clocks, newest first."""
    items = client().json("GET", _path(model))["items"]
    if as_json:
        emit_json(items)
        return
    items = [{**item, "id": item["id"][:8]} for item in items]
    columns = ("id", "kind", "aware_at", "deadline", "clock", "state")
    emit_rows(items, columns, title=model, empty="No serious incident was declared.")


@app.command()
def declare(
    model: ModelName, kind: KindOption,
    aware_at: Annotated[str, typer.Option(help="when somebody became aware, such as 2026-01-31T08:00:00Z")],
    headline: Annotated[str, typer.Option(help="what happened, in a sentence")],
    description: Annotated[str, typer.Option(help="what is known; kept in the database, the ledger has a digest")],
    incident: Annotated[UUID | None, typer.Option(help="an incident of the model that it is")] = None,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Declare a serious incident (AI Act, Article 73)."""
    body = {
        "kind": kind, "aware_at": aware_at, "headline": headline, "description": description,
        "incident": None if incident is None else str(incident),
    }  # fmt: skip
    _tell(client().json("POST", _path(model), json=body), as_json)


@app.command()
def classify(
    model: ModelName, serious: SeriousId, kind: KindOption, reason: Reason,
    aware_at: Annotated[str | None, typer.Option(help="an earlier awareness")] = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Say that it is of another kind, or that somebody was aware earlier; its deadline follows."""
    body = {"kind": kind, "reason": reason, "aware_at": aware_at}
    _tell(client().json("POST", f"{_one(model, serious)}/classify", json=body), as_json)


@app.command()
def report(
    model: ModelName, serious: SeriousId,
    authority: Annotated[str, typer.Option(help="who was told")],
    reference: Annotated[str, typer.Option(help="number of the report")],
    stage: Annotated[str, typer.Option(help="initial, which may be incomplete, or complete")] = "initial",
    at: Annotated[str | None, typer.Option(help="when; without it, now")] = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Record that an authority was told."""
    body = {"stage": stage, "authority": authority, "reference": reference, "at": at}
    _tell(client().json("POST", f"{_one(model, serious)}/report", json=body), as_json)


@app.command()
def close(model: ModelName, serious: SeriousId, reason: Reason, as_json: JsonFlag = False) -> None:
    """Close one that was reported, or that turned out not to be serious."""
    _tell(client().json("POST", f"{_one(model, serious)}/close", json={"reason": reason}), as_json)


@app.command()
def export(
    model: ModelName, serious: SeriousId, out: Annotated[Path, typer.Option(help="file to write, JSON")]
) -> None:
    """Write everything that is recorded about it as one document for the authority."""
    out.write_bytes(client().send("GET", f"{_one(model, serious)}/export").content)
    console.print(f"{out} is written.", markup=False, soft_wrap=True)


def _one(model: str, serious: str) -> str:
    return f"{_path(model)}/{whole_id(client().json('GET', _path(model))['items'], serious, 'serious incident')}"


def _tell(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(answer)
        return
    console.print(
        f"Serious incident {answer['id']} is {answer['state']}; tell the authority by {answer['deadline']} "
        f"({answer['rule']}). Clock: {answer['clock']}.", markup=False, soft_wrap=True,
    )  # fmt: skip
