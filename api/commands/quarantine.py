"""`assay quarantine MODEL`: list rejected rows, or check them again."""

from typing import Annotated
from urllib.parse import quote

import typer

from api.commands.models import ModelName, client
from api.commands.output import JsonFlag, console, emit_json, emit_rows


def quarantine(
    model: ModelName,
    state: Annotated[str, typer.Option(help="open, released, fixed or discarded")] = "open",
    replay: Annotated[bool, typer.Option("--replay", help="check all open rows again under the current spec")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="rows to show")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List rejected rows, or check them again."""
    path = f"/api/v1/models/{quote(model, safe='')}/quarantine"
    if replay:
        answer = client().json("POST", f"{path}/replay", json={"all": True})
        if as_json:
            emit_json(answer)
        else:
            console.print(f"{model}: {answer['released']} rows released, {answer['rejected_total']} still rejected")
        return
    items = client().json("GET", path, params={"state": state, "limit": limit})["items"]
    if as_json:
        emit_json(items)
    else:
        columns = ("id", "ts", "kind", "event_id", "field", "reason")
        emit_rows(items, columns, title=model, empty=f"No row is {state} in quarantine.")
