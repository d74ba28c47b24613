"""`assay erase`, `assay erasures`: remove a person's rows, and list erasures with their state."""

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
        str | None,
        typer.Argument(help="subject as sent in events; the shell history keeps it, so prefer --subject-file"),
    ] = None,
    subject_file: Annotated[
        str | None, typer.Option(help="file whose one line is the subject; - reads standard input")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="model to search, repeatable; all models by default")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="wait until the erasure is done")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Remove a person's rows from everything that holds them. This cannot be undone."""
    person = subject_of(subject, subject_file)
    requested = client().json("POST", "/api/v1/erasures", json={"subject": person, "models": model or []})
    while wait and requested["state"] in ("queued", "running"):
        time.sleep(0.5)
        requested = client().json("GET", f"/api/v1/erasures/{requested['id']}")
    _show(requested, as_json)
    if requested["state"] == "failed":
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
    emit_rows(items, columns, title="Erasures", empty="No erasure was requested yet.")


def subject_of(subject: str | None, subject_file: str | None) -> str:
    """The subject, given itself or as the one line of a file.

    Raises:
        InvalidError: both are given, or neither, or the file has not one line.
    """
    if (subject is None) == (subject_file is None):
        raise InvalidError("give either the subject or --subject-file", field="subject")
    return subject if subject is not None else _line(str(subject_file))


def _line(name: str) -> str:
    text = (sys.stdin.read() if name == "-" else Path(name).read_text()).strip("\r\n")
    if not text or "\n" in text:
        raise InvalidError("the subject file must hold exactly one line, the subject", field="--subject-file")
    return text


def _show(erasure: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(erasure)
    else:
        reason = f": {erasure['error']}" if erasure["error"] else ""
        console.print(f"{erasure['id']} is {erasure['state']}{reason}", markup=False, soft_wrap=True)
