"""`assay incidents`: alerts of one cause, across models: list, show, link, merge, and post-mortems."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from api.client import Client
from api.commands.models import client
from api.commands.output import JsonFlag, console, emit_json
from core.clock import SystemClock
from core.errors import InvalidError

app = typer.Typer(invoke_without_command=True)
Id = Annotated[str, typer.Argument(help="id of an incident, or its beginning", metavar="ID")]
Model = Annotated[str | None, typer.Option(help="only this model")]
State = Annotated[
    Literal["unresolved", "open", "acknowledged", "resolved", "all"], typer.Option(help="only those in this state")
]
Alert = Annotated[str | None, typer.Option(help="id of an alert, or its beginning")]
Run = Annotated[str | None, typer.Option(help="id of a run")]
Deploy = Annotated[str | None, typer.Option(help="id of a deploy")]
Note = Annotated[str | None, typer.Option(help="why; shown in the timeline, not in the ledger")]
SHORT = 8  # characters of an id that a list shows
PARTS = {
    "happened": "What happened", "impact": "Impact", "cause": "Cause", "done": "What was done",
    "will_change": "What will change",
}  # fmt: skip


@app.callback()
def incidents(
    context: typer.Context, model: Model = None, state: State = "unresolved", as_json: JsonFlag = False
) -> None:
    """List incidents, the newest first; with a command, act on one."""
    if context.invoked_subcommand is None:
        list_incidents(model, state, as_json)


@app.command("list")
def list_incidents(model: Model = None, state: State = "unresolved", as_json: JsonFlag = False) -> None:
    """List incidents: alerts of one cause, with one owner."""
    items = listed(client(), "incidents", model, state)
    if as_json:
        emit_json(items)
        return
    for i in items:
        owner = f", owner {i['owner']}" if i["owner"] else ""
        print_line(i, f"{i['model'] or 'the installation'}{owner}", i["headline"])
    if not items:
        console.print("No incident." if state == "all" else f"No {state} incident.")


@app.command()
def show(id: Id, as_json: JsonFlag = False) -> None:
    """Show an incident: alerts, runs, deploys, others of the same hours, timeline, clock and post-mortem."""
    service = client()
    found = service.json("GET", f"/api/v1/incidents/{_incident(service, id)}")
    if as_json:
        emit_json(found)
        return
    show_incident(found)
    if found["post_mortem"]:
        p = found["post_mortem"]
        console.print(
            f"Post-mortem, version {p['version']}, {p['author']}, {minute(p['written_at'])} UTC", markup=False
        )
        for name, words in PARTS.items():
            if p[name]:
                console.print(f"{words}: {p[name]}", markup=False, soft_wrap=True)


@app.command()
def link(id: Id, alert: Alert = None, run: Run = None, deploy: Deploy = None, note: Note = None) -> None:
    """Link an alert of any model, which moves to the incident, or a run or a deploy."""
    _change(id, "link", alert, run, deploy, note)


@app.command()
def unlink(id: Id, alert: Alert = None, run: Run = None, deploy: Deploy = None, note: Note = None) -> None:
    """Take an alert out, which gets an incident of its own, or take back a link to a run or a deploy."""
    _change(id, "unlink", alert, run, deploy, note)


@app.command()
def merge(
    id: Id, other: Annotated[str, typer.Argument(help="the incident that is merged into it, and closed")],
    note: Note = None,
) -> None:  # fmt: skip
    """Move every alert of another incident into this one."""
    service = client()
    body = {"incident": _incident(service, other), "note": note}
    done = service.json("POST", f"/api/v1/incidents/{_incident(service, id)}/merge", json=body)
    console.print(f"Incident {done['id']} has {len(done['alerts'])} alerts.", markup=False)


@app.command("post-mortem")
def post_mortem(
    id: Id,
    happened: Annotated[str | None, typer.Option(help="what happened")] = None,
    impact: Annotated[str | None, typer.Option(help="whom it cost what")] = None,
    cause: Annotated[str | None, typer.Option(help="why it happened")] = None,
    done: Annotated[str | None, typer.Option(help="what was done about it")] = None,
    will_change: Annotated[str | None, typer.Option(help="what will change")] = None,
    file: Annotated[Path | None, typer.Option(help="JSON with these five fields, in place of the options")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the next version of the post-mortem; what is not given stays as it was. Without any, list the versions."""
    service = client()
    incident = _incident(service, id)
    given = {"happened": happened, "impact": impact, "cause": cause, "done": done, "will_change": will_change}
    body = _written(file) if file is not None else {name: text for name, text in given.items() if text is not None}
    known = service.json("GET", f"/api/v1/incidents/{incident}/post-mortems")["items"]
    if not body:
        if as_json:
            emit_json(known)
            return
        for p in known:
            console.print(f"{p['version']}  {minute(p['written_at'])}  {p['author']}  {p['digest']}", markup=False)
        if not known:
            console.print("Nobody has written one yet.")
        return
    before = {name: known[0][name] for name in PARTS} if known else {}
    made = service.json("POST", f"/api/v1/incidents/{incident}/post-mortem", json=before | body)
    if as_json:
        emit_json(made)
    else:
        console.print(
            f"Version {made['version']} is kept; its digest {made['digest']} is in the ledger.",
            markup=False,
            soft_wrap=True,
        )


def _written(file: Path) -> dict[str, Any]:
    import json

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidError(
            f"--file: {file} cannot be read as JSON: {error}", field="--file", value=str(file)
        ) from error
    if not isinstance(found, dict) or not set(found) <= set(PARTS):
        raise InvalidError(
            f"--file: {file} must be an object with some of {', '.join(PARTS)}", field="--file", value=str(file)
        )
    return found


def show_incident(incident: dict[str, Any]) -> None:
    """Print an incident: what, whose, what is linked, and its timeline."""
    about = ", ".join(name or "the installation" for name in incident["models"]) or "the installation"
    owner = f", owner {incident['owner']}" if incident["owner"] else ""
    first = f"Incident {incident['id']}: {incident['severity']}, {incident['state']}{owner}, {about}"
    lines = [first, incident["headline"]]
    if incident["snoozed_until"] and incident["snoozed_until"] > SystemClock().now().isoformat():
        lines.append(f"Snoozed until {minute(incident['snoozed_until'])} UTC")
    if incident["merged_into"]:
        lines.append(f"Merged into {incident['merged_into']}")
    if clock := incident["clock"]:
        lines.append(f"Serious incident, {clock['clock']}: the authority must know by {minute(clock['deadline'])} UTC")
    lines += [f"Retrain {r['id']} of {r['model']}: {r['state']}" for r in incident["runs"]]
    lines += [f"Deploy {d['version']} of {d['model']}, {minute(d['at'])} UTC" for d in incident["deploys"]]
    lines += [
        f"At the same time {r['id']}, {', '.join(r['models'])}: {r['cause'] or 'no cause in common is known'}"
        for r in incident["related"]
    ]
    lines += [f"{minute(n['at'])}  {n['actor']}, {n['kind']}: {n['text']}" for n in incident["timeline"]]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _incident(service: Client, id: str) -> str:
    """The incident with such an id, or that of an alert with such an id."""
    kind, item = find(service, id)
    return str(item["incident_id"] if kind == "alerts" else item["id"])


def _change(
    id: str, action: str, alert: str | None, run: str | None, deploy: str | None, note: str | None
) -> None:  # fmt: skip
    service = client()
    known = None if alert is None else find(service, alert, ("alerts",))[1]["id"]
    body = {"alert": known, "run": run, "deploy": deploy, "note": note}
    done = service.json("POST", f"/api/v1/incidents/{_incident(service, id)}/{action}", json=body)
    console.print(f"Incident {done['id']} has {len(done['alerts'])} alerts.", markup=False)


def print_line(item: dict[str, Any], about: str, sentence: str) -> None:
    """Two lines: a sentence is too long for a column of a table."""
    first = f"{item['id'][:SHORT]}  {item['severity']:8}  {item['state']:12}  {minute(item['opened_at'])}  {about}"
    console.print(first, markup=False, soft_wrap=True)
    console.print(f"    {sentence}", markup=False, soft_wrap=True)


def listed(service: Client, kind: str, model: str | None, state: str, limit: int | None = None) -> list[dict[str, Any]]:
    wanted = {"model": model, "state": None if state == "all" else state, "limit": limit}
    params = {name: value for name, value in wanted.items() if value is not None}
    found: list[dict[str, Any]] = service.json("GET", f"/api/v1/{kind}", params=params)["items"]
    return found


def find(service: Client, id: str, kinds: tuple[str, ...] = ("alerts", "incidents")) -> tuple[str, dict[str, Any]]:
    """`alerts` or `incidents`, and the one whose id begins like this.

    Raises:
        InvalidError: none has such an id, or several have.
    """
    wanted = id.strip().lower()
    found = [
        (kind, item)
        for kind in kinds
        for item in listed(service, kind, None, "all", limit=1000)
        if wanted and item["id"].startswith(wanted)
    ]
    if len(found) != 1:
        many = "several alerts and incidents have" if found else "no alert or incident has"
        raise InvalidError(f"{many} an id that begins with {id!r}; `assay alerts` lists them", field="id", value=id)
    return found[0]


def minute(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M")
