"""`assay report MODEL`: build an audit report of a period and download it."""

import time
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from api.commands.models import ModelName, client
from api.commands.output import JsonFlag, console, emit_json, folder_for
from api.commands.period import Days, End, Quarter, Start, Zone, period
from core.clock import SystemClock
from core.errors import InvalidError


def report(
    model: ModelName,
    out: Annotated[Path, typer.Option(help="folder for the PDF, JSON and zip bundle")] = Path(),
    start: Start = None,
    end: End = None,
    quarter: Quarter = None,
    days: Days = None,
    zone: Zone = "UTC",
    as_json: JsonFlag = False,
) -> None:
    """Build an audit report of a period, by default the last 30 days, and download it."""
    folder_for(out, "--out")  # refused before the report is built
    now = SystemClock().now()
    begin, until = period(now, start=start, end=end, quarter=quarter, days=days, zone=zone)
    service = client()
    body = {"kind": "audit", "from": begin.isoformat(), "to": until.isoformat(), "regimes": []}
    asked = service.json("POST", f"/api/v1/models/{quote(model, safe='')}/reports", json=body)
    while (state := service.json("GET", f"/api/v1/reports/{asked['id']}"))["state"] == "queued":
        time.sleep(0.5)
    if state["state"] == "failed":
        raise InvalidError(f"the report could not be built: {state['error']}", report=asked["id"])
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for kind in ("pdf", "json", "zip"):
        path = out / f"{model}-{now:%Y%m%dT%H%M%SZ}.{kind}"
        path.write_bytes(service.send("GET", f"/api/v1/reports/{asked['id']}.{kind}").content)
        files[kind] = str(path)
    if as_json:
        emit_json({"id": asked["id"], "from": begin.isoformat(), "to": until.isoformat(), "files": files})
        return
    console.print(f"{model}, {begin:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC")
    console.print("\n".join(files.values()), markup=False, soft_wrap=True)
