"""Commands that manage one model through the running service."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.client import Client
from api.commands.output import JsonFlag, console, emit_json, emit_rows, errors
from core.errors import InvalidError
from core.settings import load
from monitor.spec.parse import load_spec

ModelName = Annotated[str, typer.Argument(help="name of the model")]
Reason = Annotated[str, typer.Option(help="reason, kept in the ledger; no personal data")]


def client() -> Client:
    return Client(load().client)


def model_path(model: str) -> str:
    return f"/api/v1/models/{quote(model, safe='')}"


def whole_id(items: Sequence[Mapping[str, Any]], text: str, what: str) -> str:
    """The id of a list that is meant by its beginning.

    Raises:
        InvalidError: none begins so, or several do.
    """
    found = [str(item["id"]) for item in items if str(item["id"]).startswith(text.strip().lower())]
    if len(found) == 1 and text.strip():
        return found[0]
    many = "no id begins" if not found else f"{len(found)} ids begin"
    raise InvalidError(f"{what}: {many} with {text!r}; the list shows how ids begin, --json whole ones", field=what)


def apply(
    spec: Annotated[Path, typer.Argument(help="YAML or JSON file")],
    dry_run: Annotated[bool, typer.Option(help="only say what would happen; nothing is stored")] = False,
    backtest: Annotated[
        bool, typer.Option(help="only say which stored windows would have alarmed under it; nothing is stored")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Declare a model or change its spec; first says when the first drift verdict is expected."""
    if not spec.is_file():
        raise InvalidError(
            f"spec: got {spec}, which is not a file; give the path of a YAML or JSON file; `assay init` writes one",
            field="spec", value=str(spec),
        )  # fmt: skip
    parsed = load_spec(spec.read_bytes())
    path = f"/api/v1/models/{parsed.model}"
    if backtest:
        _tell_backtest(parsed.model, client().json("POST", f"{path}/spec/backtest", json=parsed.document), as_json)
        return
    preview = client().json("PUT", path, json=parsed.document, params={"dry_run": "true"})
    if not as_json and (dry_run or preview["outcome"] != "unchanged"):
        told = [line["sentence"] for line in preview["forecast"]]
        told += dict.fromkeys(
            line["change"] for line in preview["forecast"][1:2] or preview["forecast"] if not line["why"]
        )
        for line in told:
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)
    if dry_run:
        answer = preview
    else:
        answer = client().json("PUT", path, json=parsed.document) | {"forecast": preview["forecast"]}
    if not as_json:
        for note in answer.get("notes", ()):
            console.print(f"note: {note}", markup=False, soft_wrap=True, highlight=False)
    if as_json:
        emit_json(answer)
    elif dry_run:
        would = "would wait for approval" if answer["outcome"] == "waits" else f"would be {answer['outcome']}"
        console.print(f"{parsed.model}: {would}; nothing was stored")
        _tell_loosened(answer)
    elif answer["outcome"] == "waits":
        _tell_waits(parsed.model, answer)
    else:
        console.print(f"{parsed.model}: {answer['outcome']}, revision {answer['revision']}")
        if again := answer.get("judged_again"):
            windows = "1 closed window" if again == 1 else f"{again:,} closed windows"
            console.print(
                f"{windows} of this reference will be judged again under revision {answer['revision']}. The verdicts "
                "given stay as they are; the new ones stand beside them and raise no alarm.", soft_wrap=True,
            )  # fmt: skip
        _print_reference(parsed.model)


def _tell_backtest(model: str, found: Mapping[str, Any], as_json: bool) -> None:
    """What stored windows say about a spec that is not applied."""
    if as_json:
        emit_json(found)
        return
    console.print(found["sentence"], markup=False, highlight=False, soft_wrap=True)
    lines = [one for one in found["lines"] if one["before"] != one["after"] or one["more"] or one["fewer"]]
    columns = ("monitor", "metric", "column", "before", "after", "did", "would", "more", "fewer", "unknown")
    emit_rows(
        lines, columns, title=model, empty="No limit, floor or budget changes that stored numbers say more about."
    )
    for why in found["cannot"]:
        console.print(why.replace("`", ""), markup=False, highlight=False, soft_wrap=True)


def _tell_waits(model: str, answer: Mapping[str, Any]) -> None:
    _tell_loosened(answer)
    people = "1 other person" if answer["needed"] == 1 else f"{answer['needed']} other people"
    console.print(
        f"{model}: waits until {people} agreed; revision {answer['revision']} stays in force. An approver agrees with: "
        f"assay changes approve {model} {answer['change']} --reason WHY", markup=False, soft_wrap=True,
    )  # fmt: skip


def _tell_loosened(answer: Mapping[str, Any]) -> None:
    for one in answer.get("loosened", ()):
        line = f"  Loosens {one['field']}: {one['before']} to {one['after']} ({one['why']})"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def evaluate(
    model: ModelName,
    wait_s: Annotated[int, typer.Option("--wait", help="longest wait for what is being evaluated, seconds")] = 300,
    as_json: JsonFlag = False,
) -> None:
    """List the windows of a model with their verdicts, once what has arrived is evaluated."""
    _wait_for_evaluation(model, wait_s)
    windows = client().json("GET", f"{model_path(model)}/windows")["items"]
    if as_json:
        emit_json(windows)
        return
    columns = ("to_ts", "scale", "rows", "labels", "verdict", "sentence")
    emit_rows(windows, columns, title=model, empty="No window has closed yet.")
    for line in _later_lines(windows):
        console.print(line, soft_wrap=True)
    _print_reference(model)


def _wait_for_evaluation(model: str, wait_s: int) -> None:
    """Wait until no evaluation of a model runs or is due; an interrupt ends the wait, and the list is what there is."""
    until, told = time.monotonic() + wait_s, False
    with suppress(KeyboardInterrupt):
        while client().json("GET", model_path(model)).get("evaluating"):
            if time.monotonic() >= until:
                errors.print(f"{model} is still being evaluated; more windows and alerts may follow.", soft_wrap=True)
                return
            if not told:
                errors.print(f"{model} is being evaluated; Ctrl-C lists what there is so far.", soft_wrap=True)
                told = True
            time.sleep(0.5)


def _print_reference(model: str) -> None:
    """What a person should know about the reference in force."""
    for notice in client().json("GET", model_path(model))["reference"]["notices"]:
        console.print(f"Reference: {notice['sentence']}", markup=False, soft_wrap=True)


def _later_lines(windows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What later spec revisions would have said of windows judged before them, one line for each revision."""
    found: dict[int, Counter[str]] = {}
    for window in windows:
        for later in window.get("later", []):
            found.setdefault(later["spec_revision"], Counter())[later["verdict"]] += 1
    return [
        f"Judged again under revision {revision}, beside the verdicts given and without an alarm: "
        + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        for revision, counts in sorted(found.items())
    ]


def runs(model: ModelName, as_json: JsonFlag = False) -> None:
    """List the retraining runs of a model."""
    items = client().json("GET", f"{model_path(model)}/runs")["items"]
    if as_json:
        emit_json(items)
        return
    for item in items:
        item["why"] = "; ".join(one["reason"] for one in item["outside"]) or item["error"]
    columns = ("id", "state", "champion_version", "candidate_version", "created_at", "finished_at", "why")
    emit_rows(items, columns, title=model, empty="No run yet.")
