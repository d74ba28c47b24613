"""`assay explain MODEL`: what the words or columns of one decision did, or the explanations of many."""

import time
from typing import Annotated, Any, Final

import typer
from rich.progress import Progress

from api.client import Client
from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, console, emit_json, emit_rows, errors
from api.commands.period import Days, End, Start, Zone, period
from core.clock import SystemClock
from core.errors import InvalidError

POLL_S: Final = 0.3
SHOWN: Final = 40  # parts of an input in a table


def explain(
    model: ModelName,
    event: Annotated[str | None, typer.Option(help="one decision, by its event_id")] = None,
    opinions: Annotated[
        str, typer.Option(help="with --event: second opinions, some of lime,integrated_gradients,attention")
    ] = "",
    start: Start = None,
    end: End = None,
    days: Days = None,
    zone: Zone = "UTC",
    sample: Annotated[int | None, typer.Option(min=1, help="so many events of the period")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the sample")] = 0,
    wait: Annotated[bool, typer.Option(help="wait until all are explained")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Explain one decision, or those of a period; 30 days, if nothing is said.

    Exit codes: 0 explained, 1 the record is withheld or decisions could not be explained, 2 wrong use, 3 the service
    refused or does not answer.
    """
    if event is not None and (start or end or days or sample):
        raise InvalidError("event: --event and a period exclude each other; give one of them", field="event")
    if event is None and opinions:
        raise InvalidError("opinions: are for one decision; name it with --event", field="opinions")
    with client() as http:
        if event is not None:
            answer = _one(http, model, event, opinions)
            emit_json(answer) if as_json else _print(answer)
            raise typer.Exit(0 if answer["state"] == "ready" else 1)
        begin, until = period(SystemClock().now(), start=start, end=end, days=days, zone=zone)
        body = {"from": begin.isoformat(), "to": until.isoformat(), "sample": sample, "seed": seed}
        batch = http.json("POST", f"{model_path(model)}/explanations", json=body)
        if wait:
            batch = _watched(http, model, batch, quiet=as_json)
    emit_json(batch) if as_json else console.print(_sentence(batch), markup=False, soft_wrap=True)
    raise typer.Exit(1 if batch["state"] == "failed" or batch["failed"] or batch["withheld"] else 0)


def _one(http: Client, model: str, event: str, opinions: str) -> dict[str, Any]:
    query = {"event_id": event} | ({"opinions": opinions} if opinions else {})
    while True:
        found: dict[str, Any] = http.json("GET", f"{model_path(model)}/explanations", params=query)
        if found["state"] != "queued":
            return found
        time.sleep(POLL_S)


def _watched(http: Client, model: str, batch: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    place = f"{model_path(model)}/explanations/{batch['id']}"
    with Progress(console=errors, disable=quiet, transient=True) as bar:
        task = bar.add_task("explaining", total=batch["total"])
        while batch["state"] in ("queued", "running"):
            bar.update(task, total=batch["total"], completed=batch["explained"] + sum(batch["failed"].values()))
            time.sleep(POLL_S)
            batch = http.json("GET", place)
    return batch


def _sentence(batch: dict[str, Any]) -> str:
    parts = [f"{batch['explained']:,} of {batch['total']:,} decisions are explained"]
    if batch["withheld"]:
        parts.append(f"{batch['withheld']:,} of them without reasons, because they do not add up")
    parts += [f"{count:,} cannot be: {code}" for code, count in sorted(batch["failed"].items())]
    if batch["error"]:
        parts.append(f"failed: {batch['error']}")
    return f"{batch['model']}: {'; '.join(parts)} (batch {batch['id']}, {batch['state']})"


def _print(answer: dict[str, Any]) -> None:
    found = answer["explanation"]
    given = f"{answer['event_id']}: {found['label']!r}, explained with version {answer['version']}"
    console.print(given, markup=False, soft_wrap=True)
    console.print(
        f"base {found['base_value']:+.4f}, output {found['output']:+.4f}, residual {found['residual']:.2g} "
        f"({found.get('unit', '')})", markup=False, soft_wrap=True,
    )  # fmt: skip
    for note in (*filter(None, [found.get("reason")]), *found.get("notes", ())):
        console.print(note, markup=False, soft_wrap=True)
    name = "words" if "words" in found else "columns"
    rows = [
        {"part": part.get("word", part.get("column")), "value": _number(part["value"]), "given": part.get("given", "")}
        for part in found.get(name, [])
    ]
    columns = ["part", "value"] if name == "words" else ["part", "value", "given"]
    emit_rows(rows[:SHOWN], columns, title=name, empty="no parts")
    for opinion, told in found.get("opinions", {}).items():
        agreement = told.get("agreement")
        says = told.get("reason") or (
            f"rank correlation {_number(agreement['rank_correlation'])}, {agreement['shared']} of the "
            f"{agreement['top']} largest are the same" if agreement else ""
        )  # fmt: skip
        console.print(f"{opinion}: {says}", markup=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:+.4f}"
