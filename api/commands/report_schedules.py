"""`assay report schedule` and `assay report regimes`."""

from typing import Annotated
from uuid import UUID

import typer

from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows
from api.commands.period import Zone
from core.errors import InvalidError

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(
    model: Annotated[str | None, typer.Argument(help="name of the model; without it, --owner")] = None,
    owner: Annotated[str | None, typer.Option(help="every model of this owner, as specs name it")] = None,
    every: Annotated[str, typer.Option(help="month, quarter, or cron: the time since the tick before")] = "quarter",
    cron: Annotated[str | None, typer.Option(help="five fields; without them the first day at 06:00")] = None,
    zone: Zone = "UTC",
    kind: Annotated[str, typer.Option(help="kind of report")] = "audit",
    regimes: Annotated[list[str] | None, typer.Option(help="id of a regime pack; may be repeated")] = None,
    to: Annotated[list[str] | None, typer.Option(help="channel that is sent each report; may be repeated")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Build a report of each last month or quarter, or at each tick of a cron expression, and send it."""
    if cron is not None and every == "quarter":
        every = "cron"
    body = {
        "model": model, "owner": owner, "every": every, "cron": cron, "zone": zone, "kind": kind,
        "regimes": regimes or [], "deliver_to": to or [],
    }  # fmt: skip
    answer = client().json("POST", "/api/v1/report-schedules", json=body)
    if as_json:
        emit_json(answer)
        return
    whose = answer["model"] or f"every model of {answer['owner']}"
    console.print(
        f"{answer['id']}: {answer['kind']} report of {whose}, next on {answer['next_due']}",
        markup=False,
        soft_wrap=True,
    )


@app.command("list")
def list_schedules(as_json: JsonFlag = False) -> None:
    """List the schedules that last."""
    items = client().json("GET", "/api/v1/report-schedules")["items"]
    if as_json:
        emit_json(items)
        return
    for item in items:
        item["of"] = item["model"] or item["owner"]
        item["to"] = ", ".join(item["deliver_to"]) or None
    columns = ("id", "of", "kind", "every", "cron", "zone", "to", "last_due", "next_due", "problem")
    emit_rows(items, columns, title="Schedules of reports", empty="None.")


@app.command()
def end(schedule: Annotated[UUID, typer.Argument(help="id, as `assay report schedule list` shows it")]) -> None:
    """End a schedule; the reports it asked for stay."""
    client().send("DELETE", f"/api/v1/report-schedules/{schedule}")
    console.print(f"{schedule} has ended.")


def regimes(
    pack: Annotated[str | None, typer.Argument(help="id of a pack; without it, the list")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the regime packs, or what one asks for and which evidence answers it."""
    items = client().json("GET", "/api/v1/regimes")["items"]
    found = [one for one in items if pack is None or one["id"] == pack.lower()]
    if not found:
        known = ", ".join(one["id"] for one in items)
        raise InvalidError(f"pack: {pack!r} is no regime pack; give one of {known}", field="pack", value=pack)
    if as_json:
        emit_json(found if pack is None else found[0])
    elif pack is None:
        emit_rows(found, ("id", "version", "applicable_from", "title"), title="Regime packs", empty="None.")
    else:
        console.print(f"{found[0]['title']}, version {found[0]['version']}\n{found[0]['scope']}", markup=False)
        for change in found[0]["changes"]:
            console.print(f"{change['date']}: {change['note']}", markup=False)
        lines = found[0]["requirements"]
        for line in lines:
            line["evidence"] = ", ".join(line["evidence"]) or "people must supply"
        emit_rows(lines, ("ref", "title", "applicable_from", "evidence"), title=found[0]["id"], empty="None.")
