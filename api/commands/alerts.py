"""`assay alerts`: alerts and incidents, and what people do about them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import typer

from api.client import Client
from api.commands.incidents import find, listed, minute, print_line, show_incident
from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json, emit_rows, errors
from core.clock import SystemClock, from_now, written_time
from core.errors import InvalidError
from monitor.spec.duration import duration

app = typer.Typer(invoke_without_command=True)
Id = Annotated[str, typer.Argument(help="id of an alert or incident, or its beginning", metavar="ID")]
Note = Annotated[str | None, typer.Option(help="why; shown with the alert, not in the ledger")]
Model = Annotated[str | None, typer.Option(help="only this model")]
State = Annotated[
    Literal["unresolved", "open", "acknowledged", "resolved", "all"], typer.Option(help="only those in this state")
]
For = Annotated[str | None, typer.Option("--for", help="how long, such as 4h or 7d")]
Until = Annotated[str | None, typer.Option(help="until when, in UTC, such as 2026-01-31T08:00")]


@app.callback()
def alerts(context: typer.Context, model: Model = None, state: State = "unresolved", as_json: JsonFlag = False) -> None:
    """List alerts, the newest first; with a command, act on one."""
    if context.invoked_subcommand is None:
        list_alerts(model, state, as_json)


@app.command("list")
def list_alerts(model: Model = None, state: State = "unresolved", as_json: JsonFlag = False) -> None:
    """List alerts, the newest first."""
    items = listed(client(), "alerts", model, state)
    if as_json:
        emit_json(items)
        return
    for a in items:
        print_line(a, f"{a['model'] or 'the installation'}: {a['monitor']}", a["sentence"])
        if (a.get("why") or {}).get("state") in ("found", "nothing"):
            console.print(f"    why: {a['why']['sentence']}", markup=False, soft_wrap=True)
    if not items:
        console.print("No alert." if state == "all" else f"No {state} alert.")
    _print_evaluating(model)


def _print_evaluating(model: str | None) -> None:
    """Which models are being evaluated, so that their alerts may not be all there yet."""
    rows = client().json("GET", "/api/v1/models")["items"]
    names = [row["name"] for row in rows if row.get("evaluating") and model in (None, row["name"])]
    if names:
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more models" if len(names) > 5 else "")
        errors.print(f"Being evaluated, so alerts may follow: {some}", soft_wrap=True, markup=False)


@app.command()
def show(id: Id, as_json: JsonFlag = False) -> None:
    """Show what the page of an alert says: what, since when, how bad, for whom, why, what now; or an incident."""
    service = client()
    kind, item = find(service, id)
    if kind == "alerts":
        alert = service.json("GET", f"/api/v1/alerts/{item['id']}")
        if as_json:
            emit_json(alert)
            return
        _show_alert(alert)
    incident = service.json("GET", f"/api/v1/incidents/{item['incident_id'] if kind == 'alerts' else item['id']}")
    if as_json:
        emit_json(incident)
    else:
        show_incident(incident)


def _show_alert(a: dict[str, Any]) -> None:
    first = f"{a['id']}: {a['monitor']}, {a['severity']}, {a['state']}, {a['model'] or 'the installation'}"
    why = (a.get("why") or {}).get("sentence") or "not looked for: only drift, KPI and fairness alerts are explained"
    lines = [
        first, a["headline"], f"Since: {minute(a['since'])} UTC", f"What: {a['sentence']}",
        f"Did it hurt: {a['harm']['sentence']}", f"For whom: {a['carriers']['sentence']}", f"Why: {why}",
        *(f"At that time: {minute(h['at'])}, {h['when']}: {h['text']}" for h in a["around"]),
        *(f"Before: {minute(s['opened_at'])}, {s['model'] or 'the installation'}: {s['done']}" for s in a["similar"]),
        *(f"Now: {n['words']}" for n in a["next"]),
    ]  # fmt: skip
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


@app.command()
def acknowledge(id: Id, note: Note = None) -> None:
    """Say that you work on an alert, or on every open alert of an incident."""
    _act(id, "acknowledge", note)


@app.command()
def resolve(id: Id, note: Note = None) -> None:
    """Close an alert, or every alert of an incident. The next alarm opens a new one."""
    _act(id, "resolve", note)


@app.command()
def assign(
    id: Id, owner: Annotated[str | None, typer.Argument(help="person or team; nobody without it")] = None
) -> None:
    """Make somebody the owner of an incident."""
    _tell(id, "assign", {"owner": owner}, f"is assigned to {owner or 'nobody'}")


@app.command()
def comment(id: Id, text: Annotated[str, typer.Argument(help="shown in the timeline, not in the ledger")]) -> None:
    """Add a comment to the timeline of an incident."""
    _tell(id, "comment", {"text": text}, "has a new comment")


@app.command()
def snooze(
    id: Id, for_: For = None, until: Until = None, note: Note = None,
    end: Annotated[bool, typer.Option("--end", help="end the snooze now")] = False,
) -> None:  # fmt: skip
    """Send no messages about an incident until a time; then say whether it lasts."""
    if end:
        _tell(id, "snooze", {"until": None, "note": note}, "is no longer snoozed")
        return
    at = _until(for_, until)
    _tell(id, "snooze", {"until": at.isoformat(), "note": note}, f"is snoozed until {at:%Y-%m-%d %H:%M} UTC")


@app.command()
def mute(
    reason: Annotated[str, typer.Option(help="why, shown in the list of mutes")],
    model: Annotated[str | None, typer.Option(help="its alerts; without it, those of the installation")] = None,
    monitor: Annotated[str, typer.Option(help="only this monitor, such as drift or kpi")] = "",
    metric: Annotated[str, typer.Option(help="only this metric")] = "",
    column: Annotated[str, typer.Option(help="only alerts whose headline names no other column")] = "",
    for_: For = None,
    until: Until = None,
    as_json: JsonFlag = False,
) -> None:
    """Let alerts send no messages until a time. Their alarms are recorded all the same."""
    body = {
        "model": model, "monitor": monitor, "metric": metric, "column": column, "reason": reason,
        "until": _until(for_, until).isoformat(),
    }  # fmt: skip
    made = client().json("POST", "/api/v1/mutes", json=body)
    if as_json:
        emit_json(made)
    else:
        console.print(f"{made['id']} mutes until {minute(made['until'])} UTC", markup=False)


@app.command()
def mutes(as_json: JsonFlag = False) -> None:
    """List the mutes in force."""
    items = client().json("GET", "/api/v1/mutes")["items"]
    if as_json:
        emit_json(items)
        return
    rows = [m | {"until": minute(m["until"]), "by": m["created_by"]} for m in items]
    columns = ("id", "model", "monitor", "metric", "column", "until", "by", "reason")
    emit_rows(rows, columns, title="Mutes", empty="Nothing is muted.")


@app.command()
def unmute(id: Annotated[UUID, typer.Argument(help="id of a mute, from `assay alerts mutes`", metavar="ID")]) -> None:
    """End a mute before its time."""
    client().send("POST", f"/api/v1/mutes/{id}/end")
    console.print(f"{id} is ended.")


def _incident(service: Client, id: str) -> str:
    kind, item = find(service, id)
    return str(item["incident_id"] if kind == "alerts" else item["id"])


def _act(id: str, action: str, note: str | None) -> None:
    service = client()
    kind, item = find(service, id)
    answer = service.json("POST", f"/api/v1/{kind}/{item['id']}/{action}", json={"note": note})
    console.print(f"{answer['id']} is {answer['state']}")


def _tell(id: str, action: str, body: dict[str, Any], said: str) -> None:
    service = client()
    incident = _incident(service, id)
    service.send("POST", f"/api/v1/incidents/{incident}/{action}", json=body)
    console.print(f"Incident {incident} {said}.", markup=False)


def _until(for_: str | None, until: str | None) -> datetime:
    if (for_ is None) == (until is None):
        raise InvalidError("give either --for, such as 4h, or --until, such as 2026-01-31T08:00", field="--for")
    try:
        if for_ is not None:
            return from_now(SystemClock().now(), duration(for_))
        at = written_time(str(until))
    except ValueError as error:
        field = "--for" if for_ is not None else "--until"
        raise InvalidError(f"{field}: {error}", field=field, value=for_ or until) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
