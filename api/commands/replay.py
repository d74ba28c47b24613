"""`assay replay SPEC FILE`: backtest a model's monitors on recorded events."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from api.commands.ingest import renamed
from api.commands.output import JsonFlag, console, emit_json, emit_rows, errors
from core.clock import written_time
from core.errors import InvalidError
from monitor.spec.parse import load_spec

if TYPE_CHECKING:
    from api.replay.replay_file import Progress as OnProgress

NOT_JUDGED_REASONS: Final = {
    "few_rows": "too few rows to test a share", "no_reference": "the reference could not be fitted",
    "no_value": "no value was defined", "not_enough_data": "not enough data", "not_learned": "nothing was learned yet",
    "reference": "they belong to the reference", "reference_too_short": "the reference is too short for alpha",
    "not_tested": "the volume could not be tested against the reference",
    "volume_changed": "the volume of traffic changed",
}  # fmt: skip
MAX_SHOWN_REJECTIONS: Final = 20  # rejected rows shown to a person; --json has them all


def replay(
    spec: Annotated[Path, typer.Argument(help="model spec, YAML or JSON")],
    file: Annotated[
        Path,
        typer.Argument(
            help="events in any order: Parquet, Arrow, CSV, NDJSON, a folder of Parquet files or a Delta table"
        ),
    ],
    outcomes: Annotated[
        Path | None, typer.Option(help="outcomes: event_id, ts (when they arrived), outcome columns")
    ] = None,
    ts: Annotated[str | None, typer.Option(help="column that holds the time of the answer")] = None,
    ts_as: Annotated[
        str, typer.Option(help="how times are read: epoch_s, epoch_ms, epoch_us, epoch_ns, or a zone such as UTC")
    ] = "",
    rename: Annotated[
        list[str] | None, typer.Option(help="FROM=TO for a column of another name; FROM= leaves it out; repeatable")
    ] = None,
    model_version: Annotated[
        str | None, typer.Option(help="version of the model that answered, if the file has no column for it")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="policies judged over the same windows: blocks, row_tests, thresholds:psi=0.2, alpha=0.01, "
            "windows=7d, joined by + in one policy and separated by commas; or a YAML file"
        ),
    ] = None,
    changed_at: Annotated[
        str | None,
        typer.Option(
            help="time of a known change: alarms before it are false, and the delay of the first after it is reported"
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Replay a file by event time; print the alarms and retrains that production would have seen."""
    from api.replay.naming import FileColumns
    from api.replay.replay_file import replay_file
    from monitor.ingest.times import check_reading

    for name, path in (("spec", spec), ("file", file), ("outcomes", outcomes)):
        if path is not None and not (path.is_file() or (name == "file" and path.is_dir())):
            raise InvalidError(f"{name}: {path} does not exist; give the path of a file", field=name, value=str(path))
    parsed = load_spec(spec.read_bytes())
    changed = _time(changed_at) if changed_at is not None else None
    reading = check_reading(ts_as) if ts_as else ""
    columns = FileColumns(renamed(rename or [], ts), model_version, reading, make_ids=outcomes is None)
    with tempfile.TemporaryDirectory(prefix="assay-replay-") as home, _bar() as show:
        document = replay_file(
            Path(home),
            parsed,
            file,
            outcomes,
            compare=compare or (),
            changed_at=changed,
            columns=columns,
            progress=show,
        )
    _show_rejected(document)
    for note in document["notes"]:
        errors.print(f"note: {note}", markup=False, soft_wrap=True)
    if as_json:
        emit_json(document)
    else:
        _show(document)


def _time(text: str) -> datetime:
    try:
        at = written_time(text)
        at = at if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidError(
            f"changed-at: {text!r} is not a timestamp with a time zone; write for example 2026-03-01T12:00:00Z",
            field="changed-at", value=text,
        )  # fmt: skip
    return at


@contextmanager
def _bar() -> "Iterator[OnProgress]":
    """Show progress on standard error, only at a terminal."""
    if not errors.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replaying"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("rows", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show_rejected(document: Mapping[str, Any]) -> None:
    for row in document["rejected"][:MAX_SHOWN_REJECTIONS]:
        field = f"{row['field']}: " if row["field"] else ""
        errors.print(
            f"rejected: {row['file']} line {row['line']}: {field}{row['reason']}", markup=False, soft_wrap=True
        )
    if (more := len(document["rejected"]) - MAX_SHOWN_REJECTIONS) > 0:
        errors.print(f"rejected: {more} more rows; --json lists them all", markup=False)


def _show(document: Mapping[str, Any]) -> None:
    columns = ("from", "to", "rows", "verdict", "sentence")
    emit_rows(
        document["windows"], columns, title=document["model"], empty=_why_no_window(document["reference"]["notices"])
    )
    for notice in document["reference"]["notices"]:
        console.print(f"Reference: {notice['sentence']}", markup=False, soft_wrap=True)
    for alert in document["alerts"]:
        what = " ".join(part for part in (alert["monitor"], alert["metric"], alert["column"]) if part)
        console.print(f"Alert {alert['opened_at']}: {what}: {alert['sentence']}", markup=False)
    _show_observed(document)
    _show_policies(document["policies"])
    for run in document["runs"]:
        console.print(f"Retrain would have started {run['at']}: {run['reason']}", markup=False)
    verdicts = [w["verdict"] for w in document["windows"]]
    judged = ", ".join(f"{verdicts.count(name)} {name}" for name in ("ok", "alarm", "unknown"))
    console.print(
        f"{document['accepted']} events, {len(document['rejected'])} rows rejected, "
        f"{document['duplicates']} duplicates; {len(verdicts)} windows: {judged}; {len(document['alerts'])} alerts, "
        f"{len(document['runs'])} retrains, {len(document['blocked'])} blocked"
    )


def _why_no_window(notices: Sequence[Mapping[str, str]]) -> str:
    return "No window closed." if notices else "No window closed: the file holds too few rows."


def _show_observed(document: Mapping[str, Any]) -> None:
    """Print the alarm rate of each monitor and its budget, the episodes, and the windows not judged."""
    observed = document["observed"]
    columns = (
        "monitor", "scale", "judgements", "alarms", "episodes", "rate", "95 %", "budget", "per 30d", "budget per 30d",
        "",
    )  # fmt: skip
    rows = [_rate(stream) for stream in (*observed["streams"], *document["limits"]) if stream["looks"]]
    emit_rows(
        rows,
        columns,
        title=f"Alarms compared with the budget ({observed['declared']})",
        empty="Nothing could be judged.",
    )
    for episode in document["episodes"]:
        named = f": {', '.join(episode['columns'])}" if episode["columns"] else ""
        console.print(
            f"Episode {episode['start']} to {episode['end']}: {episode['monitor']} {episode['scale']}, "
            f"{episode['alarms']} alarms{named}", markup=False,
        )  # fmt: skip
    for stream in (*observed["streams"], *document["limits"]):
        for cause, count in stream["not_judged"].items():
            reason = NOT_JUDGED_REASONS.get(cause, cause)
            message = f"Not judged by {stream['monitor']} {stream['scale']}: {count} windows: {reason}"
            console.print(message, markup=False)
    if document["change"] is not None:
        console.print(_change(document["change"]), markup=False)


def _show_policies(policies: Sequence[Mapping[str, Any]]) -> None:
    if not policies:
        return
    columns = (
        "policy", "alarms", "episodes", "drift rate", "95 %", "budget", "per 30d", "budget per 30d", "first alarm",
    )  # fmt: skip
    changed = policies[0]["change"] is not None
    rows = [_policy(policy) for policy in policies]
    more = ("before", "windows to alarm", "days to alarm", "by") if changed else ()
    emit_rows(rows, (*columns, *more), title="Policies over the same windows", empty="")


def _policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    observed = policy["observed"]
    drift = [_rate(s) for s in observed["streams"] if s["monitor"] == "drift" and s["looks"]]
    row = {
        "policy": policy["policy"], "alarms": str(observed["alarms"]), "episodes": str(observed["episodes"]),
        "drift rate": _lines(f"{r['scale']} {r['rate']}" for r in drift), "95 %": _lines(r["95 %"] for r in drift),
        "budget": _lines(r["budget"] for r in drift), "per 30d": _short(observed["per_30d"]),
        "budget per 30d": _short(observed["budget_per_30d"]),
        "first alarm": (policy["first_alarm"] or "-")[:16],
    }  # fmt: skip
    change = policy["change"]
    if change is None:
        return row
    by = f"{change['monitor']} {change['scale']}" if change["monitor"] else None
    return row | {
        "before": f"{change['before']} in {change['windows_before']}",
        "windows to alarm": None if change["windows"] is None else str(change["windows"]),
        "days to alarm": _short(change["days"]), "by": by,
    }  # fmt: skip


def _rate(stream: Mapping[str, Any]) -> dict[str, Any]:
    low, high = stream["low"], stream["high"]
    return {
        "monitor": stream["monitor"], "scale": stream["scale"], "judgements": str(stream["looks"]),
        "alarms": str(stream["alarms"]), "episodes": str(stream["episodes"]), "rate": _share(stream["rate"]),
        "95 %": f"{100 * low:.3g}-{100 * high:.3g} %", "budget": _share(stream["budget"]),
        "per 30d": _short(stream["per_30d"]), "budget per 30d": _short(stream["budget_per_30d"]),
        "": stream["judgement"],
    }  # fmt: skip


def _change(change: Mapping[str, Any]) -> str:
    before = f"Before the change: {change['before']} alarms in {change['windows_before']} judgements. "
    if change["first_alarm"] is None:
        return before + "After it: none."
    named = f" ({', '.join(change['columns'])})" if change["columns"] else ""
    return (
        f"{before}First alarm after it: {change['first_alarm']} by {change['monitor']} {change['scale']}{named}, "
        f"{change['days']:.3g} days and {change['windows']} judgements later."
    )


def _share(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.3g} %"


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"


def _lines(parts: Iterable[str | None]) -> str:
    return "\n".join("-" if part is None else part for part in parts)
