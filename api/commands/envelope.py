"""`assay envelope`: the proof that a run stayed inside its limits, and its check offline."""

import json
import sys
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json
from api.commands.trusted import trusted_keys
from core.errors import InvalidError


def envelope(
    run: Annotated[UUID | None, typer.Argument(help="run id")] = None,
    check: Annotated[
        Path | None, typer.Option(help="check a document that `--json` wrote, without the service, and exit 1 if wrong")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="with --check: public key you trust (a vkey line, or a file with one)")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the change document of a run: each limit, declared and measured, and who allowed an exception."""
    if (run is None) == (check is None):
        raise InvalidError("give a run, or --check with a file, and not both", field="run")
    if check is not None:
        _check(check, trusted_keys(key or []), as_json)
        return
    path = f"/api/v1/runs/{run}/envelope"
    if as_json:
        emit_json(client().json("GET", path))
    else:
        console.print(client().send("GET", path, params={"format": "markdown"}).text, markup=False, soft_wrap=True)


def _check(path: Path, keys: list[str] | None, as_json: bool) -> None:
    from retrain.runs.change_check import check_document

    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidError(f"{path} is no JSON document: {error}", field="--check") from error
    if not isinstance(document, dict):
        raise InvalidError(f"{path} is no change document", field="--check")
    findings = check_document(document, keys)
    if as_json:
        emit_json({"ok": not findings, "verdict": document.get("verdict"), "findings": findings})
    elif findings:
        console.print("FAILED: the document does not follow from the ledger.")
        for finding in findings:
            console.print(f"  {finding}", markup=False, soft_wrap=True)
    else:
        signed = "by a key you trust" if keys else "by the key it names; give --key to trust one"
        entries = len(document["ledger"]["entries"])
        words = f"OK: run {document['run']} is {document['verdict']}; every figure follows from {entries} entries, "
        console.print(f"{words}signed {signed}", markup=False, soft_wrap=True)
    sys.exit(1 if findings else 0)
