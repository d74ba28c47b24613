"""`assay erase`, `assay erasures`: remove a person's rows, and see how that stands."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from core.errors import InvalidError


def erase(
    subject: Annotated[
        str | None, typer.Argument(help="whom, as sent in events; a shell keeps it in its history: --subject-file")
    ] = None,
    subject_file: Annotated[
        str | None, typer.Option(help="file whose one line is the subject; - reads standard input")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="model to look in, may be given again; by default all")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="return when it is done")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove a person's rows from everything that holds them. This cannot be undone."""
    if (subject is None) == (subject_file is None):
        raise InvalidError("give the subject or --subject-file, and not both", field="subject")
    whom = subject if subject is not None else _line(str(subject_file))
    asked = client().json("POST", "/api/v1/erasures", json={"subject": whom, "models": model or []})
    while wait and asked["state"] in ("queued", "running"):
        time.sleep(0.5)
        asked = client().json("GET", f"/api/v1/erasures/{asked['id']}")
    _show(asked, as_json)
    if asked["state"] == "failed":
        sys.exit(1)


def erasures(
    erasure: Annotated[str | None, typer.Argument(help="id of one erasure, to print its proof")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List erasures, or print the proof of one."""
    if erasure is not None:
        emit_json(client().json("GET", f"/api/v1/erasures/{erasure}"))
        return
    items = client().json("GET", "/api/v1/erasures")["items"]
    if as_json:
        emit_json(items)
        return
    columns = ("id", "state", "requested_by", "requested_at", "completed_at", "error")
    emit_rows(items, columns, title="Erasures", empty="No erasure was asked for yet.")


def _line(name: str) -> str:
    text = (sys.stdin.read() if name == "-" else Path(name).read_text()).strip("\r\n")
    if not text or "\n" in text:
        raise InvalidError("the subject file must hold exactly one line, the subject", field="--subject-file")
    return text


def _show(asked: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(asked)
    else:
        told = f": {asked['error']}" if asked["error"] else ""
        console.print(f"{asked['id']} is {asked['state']}{told}", markup=False, soft_wrap=True)
