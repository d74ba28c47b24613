"""`assay plan`: what a model's spec planned in a period, and what was done, late or missed."""

from typing import Annotated

import typer

from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, emit_json, emit_rows
from api.commands.period import period
from core.clock import SystemClock


def plan(
    model: ModelName,
    start: Annotated[str | None, typer.Option("--from", help="first day")] = None,
    end: Annotated[str | None, typer.Option("--to", help="last day")] = None,
    days: Annotated[int | None, typer.Option(help="length of a period that ends now")] = None,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Show the checks that were planned and performed in a period, by default the last 30 days."""
    since, until = period(SystemClock().now(), start=start, end=end, days=days)
    query = {"from": since.isoformat(), "to": until.isoformat()}
    answer = client().json("GET", f"{model_path(model)}/plan", params=query)
    if as_json:
        emit_json(answer)
        return
    columns = ("planned", "due", "done", "missed", "why")
    emit_rows(answer["lines"], columns, title=model, empty="Nothing was planned.")
