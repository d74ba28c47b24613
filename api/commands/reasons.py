"""`assay reasons`: the reasons of a decision, whether a stored record gives the same ones again, and the tables."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from core.errors import InvalidError

app = typer.Typer(no_args_is_help=True)
WAIT_S = 300.0


@app.command("of")
def of_event(
    model: ModelName,
    event_id: Annotated[str, typer.Argument(help="id of the event that was decided")],
    to: Annotated[
        Path | None, typer.Option(help="write the whole record to this file, to be checked elsewhere")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Give the principal reasons of an adverse decision, or say why none are given. Waits until they are known."""
    until = time.monotonic() + WAIT_S
    while True:
        answer = client().json("GET", f"{model_path(model)}/reasons", params={"event_id": event_id})
        if answer["state"] != "queued" or time.monotonic() > until:
            break
        time.sleep(1.0)
    if to is not None and answer["record"] is not None:
        to.write_text(json.dumps(answer["record"], ensure_ascii=False, indent=1), encoding="utf-8")
    if as_json:
        emit_json(answer)
        return
    if answer["state"] == "queued":
        console.print("The reasons are still being computed; ask again.")
        raise typer.Exit(1)
    if answer["why"]:
        console.print(f"No reasons ({answer['state']}): {answer['why']}.", markup=False, soft_wrap=True)
    else:
        rows = [
            code | {"features": ", ".join(code["features"]), "contribution": f"{code['contribution']:+.4f}"}
            for code in answer["codes"]
        ]
        emit_rows(rows, ("code", "text", "features", "contribution"), title=f"Reasons of {event_id}", empty="None.")
    for finding in answer["findings"]:
        console.print(f"Finding: {finding['sentence']}.", markup=False, soft_wrap=True)
    _print_changes(answer["counterfactuals"])


def _print_changes(found: dict[str, Any] | None) -> None:
    for one in (found or {}).get("found", ()):
        changes = ", ".join(f"{name} {value}" for name, value in one["changes"].items())
        console.print(f"The model answers otherwise with: {changes}.", markup=False, soft_wrap=True)
    if found and found.get("why"):
        console.print(f"Changes: {found['why']}.", markup=False, soft_wrap=True)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="a record, as `assay reasons of --to` or the API gives it")],
    as_json: JsonFlag = False,
) -> None:
    """Compute the codes of a record again, without a service. Exit code 1 where anything differs."""
    from monitor.reasons.record import check_record

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidError(f"file {file} is no record of reasons: {error}", field="file", value=str(file)) from error
    record = found.get("record") or found if isinstance(found, dict) else {}
    differs = check_record(record)
    if as_json:
        emit_json({"same": not differs, "differs": differs})
    elif differs:
        for line in differs:
            console.print(line, markup=False, soft_wrap=True)
    else:
        codes = ", ".join(code["code"] for code in record["result"]["codes"]) or record["result"]["state"]
        console.print(f"The same: {codes}.", markup=False)
    if differs:
        raise typer.Exit(1)


@app.command()
def tables(model: ModelName, as_json: JsonFlag = False) -> None:
    """List the versions of the table of reasons, the newest first, with what each says otherwise."""
    items = client().json("GET", f"{model_path(model)}/reason-tables")
    if as_json:
        emit_json(items)
        return
    rows = [item | {"changes": "; ".join(item["changes"]) or "the first"} for item in items]
    emit_rows(rows, ("version", "since_revision", "changes", "digest"), title=f"Reasons of {model}",
              empty="No table is declared.")  # fmt: skip
