"""`assay plan`: what a model's spec planned in a period, and what was done, late or missed."""

from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, emit_json, emit_rows
from api.commands.period import Days, End, Start, period
from core.clock import SystemClock


def plan(
    model: ModelName,
    start: Start = None,
    end: End = None,
    days: Days = None,
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
