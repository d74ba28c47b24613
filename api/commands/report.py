"""`assay report MODEL`: build a report of a period or of one thing and download it; list, download and send others."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import typer
from typer.core import TyperGroup

from api.client import Client
from api.commands import report_schedules
from api.commands.models import ModelName, client
from api.commands.output import JsonFlag, console, emit_json, emit_rows, folder_for
from api.commands.period import Days, End, Month, Quarter, Start, Zone, period
from core.clock import SystemClock
from core.errors import InvalidError
from reports.periods import period_words

BUILD = "build"


class _OrBuild(TyperGroup):
    """`assay report MODEL` is `assay report build MODEL`, also for a model with the name of another command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [BUILD, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(no_args_is_help=True, cls=_OrBuild)
app.add_typer(report_schedules.app, name="schedule", help="Reports at the ticks of a calendar: add, list, end.")
app.command("regimes")(report_schedules.regimes)
ReportId = Annotated[UUID, typer.Argument(help="id, as `assay report list` shows it")]
Out = Annotated[Path, typer.Option(help="folder for the files")]
FORMATS = ("pdf", "html", "csv", "json", "zip")
Formats = Annotated[
    list[str] | None, typer.Option("--format", help=f"one of {', '.join(FORMATS)}; may be repeated; all without it")
]
Regimes = Annotated[
    list[str] | None, typer.Option(help="id of a regime pack, as `assay report regimes` lists them; may be repeated")
]
To = Annotated[list[str] | None, typer.Option("--deliver", help="channel that is sent the report; may be repeated")]


@app.command(BUILD)
def report(
    model: ModelName,
    out: Out = Path(),
    formats: Formats = None,
    kind: Annotated[
        str, typer.Option(help="audit, fairness, dossier, incident, model_card, annex_iv, erasure or retention")
    ] = "audit",
    subject: Annotated[
        str | None, typer.Option(help="what a dossier, incident, model_card or erasure is about: an id, or a version")
    ] = None,
    start: Start = None,
    end: End = None,
    quarter: Quarter = None,
    month: Month = None,
    days: Days = None,
    zone: Zone = "UTC",
    regimes: Regimes = None,
    deliver: To = None,
    as_json: JsonFlag = False,
) -> None:
    """Build a report of a period, by default the last 30 days, or about one thing (--subject), and download it.

    The word `build` may be left out.
    """
    folder_for(out, "--out")  # refused before the report is built
    faces = _faces(formats)
    of_time = any(one is not None for one in (start, end, quarter, month, days))
    if subject is not None and of_time:
        raise InvalidError("--subject: the report covers the time of what it is about; leave out the period")
    begin, until = period(SystemClock().now(), start=start, end=end, quarter=quarter, month=month, days=days, zone=zone)
    spanned = {"from": begin.isoformat(), "to": until.isoformat()} if subject is None else {}
    service = client()
    packs = [one for given in regimes or [] for one in given.replace(",", " ").split()]
    body = {
        "kind": kind, **spanned, "zone": zone, "regimes": packs, "deliver_to": deliver or [], "subject": subject,
    }  # fmt: skip
    asked = service.json("POST", f"/api/v1/models/{quote(model, safe='')}/reports", json=body)
    while (state := service.json("GET", f"/api/v1/reports/{asked['id']}"))["state"] == "queued":
        time.sleep(0.5)
    if state["state"] == "failed":
        raise InvalidError(f"the report could not be built: {state['error']}", report=asked["id"])
    files = _downloaded(service, state, out, faces)
    begin, until = (datetime.fromisoformat(state[name]) for name in ("period_from", "period_to"))
    if as_json:
        emit_json({"id": asked["id"], "from": begin.isoformat(), "to": until.isoformat(), "files": files})
        return
    console.print(f"{model}, {period_words(begin, until, zone)}", markup=False)
    console.print("\n".join(files.values()), markup=False, soft_wrap=True)


@app.command()
def download(report_id: ReportId, out: Out = Path(), formats: Formats = None, as_json: JsonFlag = False) -> None:
    """Download the files of a report; each pull is recorded in the ledger."""
    folder_for(out, "--out")
    faces, service = _faces(formats), client()
    files = _downloaded(service, service.json("GET", f"/api/v1/reports/{report_id}"), out, faces)
    if as_json:
        emit_json({"id": str(report_id), "files": files})
    else:
        console.print("\n".join(files.values()), markup=False, soft_wrap=True)


def _faces(formats: list[str] | None) -> tuple[str, ...]:
    """The faces that are asked for; all without a word."""
    chosen = [one for given in formats or FORMATS for one in given.replace(",", " ").split()]
    for one in chosen:
        if one not in FORMATS:
            raise InvalidError(
                f"--format {one!r} is not known; give one of {', '.join(FORMATS)}", field="--format", value=one
            )
    return tuple(chosen)


def _downloaded(service: Client, state: dict[str, Any], out: Path, faces: Sequence[str]) -> dict[str, str]:
    """Write each file of a report under a name that says model and period; an earlier one of that name stays."""
    if not state["file_names"]:
        raise InvalidError(f"report {state['id']} has no files yet; it is {state['state']}", report=state["id"])
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for face, name in state["file_names"].items():
        if face not in faces:
            continue
        content = service.send("GET", f"/api/v1/reports/{state['id']}.{face}").content
        path = out / name
        if path.exists() and path.read_bytes() != content:
            path = out / f"{path.stem}-{state['id'][:8]}{path.suffix}"
        path.write_bytes(content)
        files[face] = str(path)
    return files


@app.command("list")
def list_reports(
    model: Annotated[str | None, typer.Argument(help="name of a model; all models without it")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the newest reports."""
    items = client().json("GET", "/api/v1/reports", params={"model": model} if model else {})["items"]
    if as_json:
        emit_json(items)
        return
    for item in items:
        item["period"] = f"{item['period_from'][:16]} to {item['period_to'][:16]}"
        item["regimes"] = ", ".join(item["regimes"]) or None
    columns = ("id", "model", "kind", "period", "zone", "regimes", "state", "requested_by", "created_at")
    emit_rows(items, columns, title="Reports", empty="No report yet. Build one: assay report MODEL --quarter last")


@app.command()
def deliver(
    report_id: ReportId,
    to: Annotated[list[str], typer.Option(help="channel, as `assay notify list` shows it; may be repeated")],
    as_json: JsonFlag = False,
) -> None:
    """Send a report to channels: an e-mail with the PDF, a signed webhook, a folder or an object store."""
    items = client().json("POST", f"/api/v1/reports/{report_id}/deliveries", json={"to": to})["items"]
    _emit_deliveries(items, as_json)


@app.command()
def deliveries(report_id: ReportId, as_json: JsonFlag = False) -> None:
    """Say how the deliveries of a report stand."""
    _emit_deliveries(client().json("GET", f"/api/v1/reports/{report_id}/deliveries")["items"], as_json)


def _emit_deliveries(items: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        emit_json(items)
        return
    columns = ("channel", "state", "attempts", "created_at", "ended_at", "reason")
    emit_rows(items, columns, title="Deliveries", empty="It was sent nowhere within 30 days; the ledger has the rest.")
