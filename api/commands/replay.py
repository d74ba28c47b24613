"""`assay replay SPEC FILE`: the backtest that users run before they trust a monitor."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from api.commands.output import JsonFlag, console, emit_json, emit_rows, errors
from core.errors import InvalidError
from monitor.schema import load_spec

if TYPE_CHECKING:
    from api.replay import Progress as Told

LISTED: Final = 20  # rejected rows shown to a person; --json has them all


def replay(
    spec: Annotated[Path, typer.Argument(help="model spec, YAML or JSON")],
    file: Annotated[
        Path,
        typer.Argument(
            help="events in any order: Parquet, CSV or NDJSON with event_id, ts, version and declared columns"
        ),
    ],
    outcomes: Annotated[
        Path | None, typer.Option(help="outcomes: event_id, ts (when they arrived), outcome columns")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Feed a file through the real path by event time; print what would have alarmed and retrained."""
    from api.replay import replay_file

    for name, path in (("spec", spec), ("file", file), ("outcomes", outcomes)):
        if path is not None and not path.is_file():
            raise InvalidError(f"{name}: {path} does not exist; give the path of a file", field=name, value=str(path))
    parsed = load_spec(spec.read_bytes())
    with tempfile.TemporaryDirectory(prefix="assay-replay-") as home, _bar() as told:
        document = replay_file(Path(home), parsed, file, outcomes, progress=told)
    _say_rejected(document)
    for note in document["notes"]:
        errors.print(f"note: {note}", markup=False, soft_wrap=True)
    if as_json:
        emit_json(document)
    else:
        _show(document)


@contextmanager
def _bar() -> "Iterator[Told]":
    """Progress on standard error, for a person at a terminal only."""
    columns = (TextColumn("replaying"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("rows", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _say_rejected(document: Mapping[str, Any]) -> None:
    for row in document["rejected"][:LISTED]:
        field = f"{row['field']}: " if row["field"] else ""
        errors.print(
            f"rejected: {row['file']} line {row['line']}: {field}{row['reason']}", markup=False, soft_wrap=True
        )
    if (more := len(document["rejected"]) - LISTED) > 0:
        errors.print(f"rejected: {more} rows more; --json lists them all", markup=False)


def _show(document: Mapping[str, Any]) -> None:
    columns = ("from", "to", "rows", "verdict", "sentence")
    emit_rows(
        document["windows"], columns, title=document["model"], empty="No window closed: the file holds too few rows."
    )
    for alert in document["alerts"]:
        what = " ".join(part for part in (alert["monitor"], alert["metric"], alert["column"]) if part)
        console.print(f"Alert {alert['opened_at']}: {what}: {alert['sentence']}", markup=False)
    for run in document["runs"]:
        console.print(f"Retrain would have started {run['at']}: {run['reason']}", markup=False)
    verdicts = [w["verdict"] for w in document["windows"]]
    judged = ", ".join(f"{verdicts.count(name)} {name}" for name in ("ok", "alarm", "unknown"))
    console.print(
        f"{document['accepted']} events, {len(document['rejected'])} rows rejected, "
        f"{document['duplicates']} duplicates; {len(verdicts)} windows: {judged}; {len(document['alerts'])} alerts, "
        f"{len(document['runs'])} retrains, {len(document['blocked'])} held back"
    )
