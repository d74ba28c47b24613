"""Replay: a file through the real path, the clock driven by event time, windows closed as in production."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

import migrations
from api import worker
from core.clock import ManualClock
from core.errors import InvalidError
from core.settings import Settings, load
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Receipt, receive_events, receive_outcomes
from monitor.reference import GRACE
from monitor.schema import ModelSpec, RowWindow, span
from monitor.site import Site, open_site
from monitor.tables import Measurement, Window
from monitor.windows import QUIET, evaluate
from retrain import registry
from retrain import store as retrain_store
from retrain.errors import BaseModelError

READERS: Final[Mapping[str, Callable[[Path], pl.DataFrame]]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".ndjson": pl.read_ndjson,
    ".jsonl": pl.read_ndjson,
}
MOST_ROWS_AT_ONCE: Final = 20_000


def replay_file(home: Path, spec: ModelSpec, events: Path, outcomes: Path | None) -> dict[str, Any]:
    """Feed events (and outcomes) through ingest, windows, decision and retrain policy under `home`; nothing is trained.

    Outcome columns found in the events file count as outcomes that arrive with their event.

    Raises:
        InvalidError: a file cannot be read, or lacks event_id, ts or version.
    """
    frame = _read(events, spec, needed=("event_id", "ts", "version")).sort("ts", maintain_order=True)
    inside = [name for name in spec.outcome_columns if name in frame.columns]
    late = _read(outcomes, spec, needed=("event_id", "ts")).sort("ts") if outcomes is not None else None
    clock = ManualClock(frame["ts"].min())  # type: ignore[arg-type]  # a time: the file has rows
    site = _fresh(home, clock)
    rejected: list[dict[str, Any]] = []
    try:
        with site.database.write() as db:
            service.apply_spec(site, db, spec, "replay")
        _register_base(site, spec)
        line, sent = 1, 0
        for chunk, at in _chunks(frame, spec):
            clock.move_to(at)
            _note(rejected, receive_events(site, spec.model, _lines(chunk.drop(inside)), NDJSON), line, "events")
            if inside:
                receive_outcomes(site, spec.model, _lines(chunk.select("event_id", *inside).drop_nulls()), NDJSON)
            if late is not None:
                due = int((late["ts"] <= at).sum())
                sent = _send_outcomes(site, spec, late, sent, due, rejected)
            worker.drain(site, lanes=("default",))
            line += chunk.height
        clock.move_to(clock.now() + GRACE + QUIET)
        if late is not None:
            clock.move_to(max(clock.now(), late["ts"].max()))  # type: ignore[type-var, arg-type]  # a time
            _send_outcomes(site, spec, late, sent, late.height, rejected)
        evaluate(site, spec.model)
        worker.drain(site, lanes=("default",))
        return _document(site, spec, rejected)
    finally:
        site.close()


def _fresh(home: Path, clock: ManualClock) -> Site:
    settings: Settings = load({}, home=home)
    migrations.upgrade(settings.database_url)
    return open_site(settings, clock)


def _register_base(site: Site, spec: ModelSpec) -> None:
    """Without the base model at hand the policy is still replayed; only a run could not start."""
    if spec.retrain is None:
        return
    with site.database.write() as db:
        current = service.current_spec(db, spec.model)
        try:
            registry.ensure_base_version(site, db, current.model, spec, "replay")
        except BaseModelError:
            return


def _read(path: Path, spec: ModelSpec, *, needed: tuple[str, ...]) -> pl.DataFrame:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidError(
            f"{path.name}: unknown kind of file {path.suffix!r}; give Parquet, CSV or NDJSON", field="file"
        )
    try:
        frame = reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidError(f"{path.name} cannot be read: {error}", field="file", value=str(path)) from error
    for name in needed:
        if name not in frame.columns:
            raise InvalidError(f"{path.name} has no column {name!r}; every row needs {', '.join(needed)}", field=name)
    if frame.is_empty():
        raise InvalidError(f"{path.name} has no rows", field="file", value=str(path))
    return _typed(frame, spec, path.name)


def _typed(frame: pl.DataFrame, spec: ModelSpec, name: str) -> pl.DataFrame:
    """Files often hold codes as numbers, and times as text; declared types decide."""
    casts = [pl.col("event_id").cast(pl.String)]
    if "version" in frame.columns:
        casts.append(pl.col("version").cast(pl.String))
    for column, declared in spec.columns.items():
        if column in frame.columns and declared.type in ("category", "string", "text"):
            casts.append(pl.col(column).cast(pl.String))
    dtype = frame.schema["ts"]
    if dtype == pl.String:
        zoned = frame["ts"].str.contains(r"(Z|[+-]\d\d:?\d\d)$")
        if not zoned.fill_null(value=False).all():
            bad = frame["ts"].filter(~zoned.fill_null(value=False))[0]
            raise InvalidError(
                f"{name}: ts {bad!r} has no zone; add Z or an offset such as +01:00", field="ts", value=bad
            )
        casts.append(pl.col("ts").str.to_datetime(time_unit="us", time_zone="UTC"))
    elif isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        casts.append(pl.col("ts").dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
    else:
        raise InvalidError(f"{name}: ts is {dtype}; store times with their zone (UTC)", field="ts", value=str(dtype))
    return frame.with_columns(casts)


def _chunks(frame: pl.DataFrame, spec: ModelSpec) -> Iterator[tuple[pl.DataFrame, datetime]]:
    """Pieces small enough that windows close one by one, each with the time at which the clock then stands."""
    windows = spec.monitors.windows
    if isinstance(windows, RowWindow):
        for piece in frame.iter_slices(windows.rows):
            yield piece, piece["ts"].max()  # type: ignore[misc]  # a time
        return
    length = min([timedelta(days=1), *(span(w) for w in windows)])
    keyed = frame.with_columns(pl.col("ts").dt.truncate(length).alias("_block"))
    for _, piece in keyed.group_by("_block", maintain_order=True):
        for part in piece.drop("_block").iter_slices(MOST_ROWS_AT_ONCE):
            yield part, part["ts"].max()  # type: ignore[misc]  # a time


def _lines(frame: pl.DataFrame) -> bytes:
    if "ts" in frame.columns:
        frame = frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    return frame.write_ndjson().encode()


def _send_outcomes(
    site: Site, spec: ModelSpec, late: pl.DataFrame, sent: int, due: int, rejected: list[dict[str, Any]]
) -> int:
    if due > sent:
        body = _lines(late[sent:due].drop("ts"))
        _note(rejected, receive_outcomes(site, spec.model, body, NDJSON), sent + 1, "outcomes")
    return max(sent, due)


def _note(rejected: list[dict[str, Any]], receipt: Receipt, first: int, file: str) -> None:
    for row in receipt.rejected:
        rejected.append({"file": file, "line": first + row.line - 1, "field": row.field, "reason": row.reason})


# --- the document ---------------------------------------------------------------------------------------------------


def _document(site: Site, spec: ModelSpec, rejected: list[dict[str, Any]]) -> dict[str, Any]:
    with site.database.read() as db:
        model = store.model(db, spec.model)
        windows = [_window(w, store.window_measurements(db, w.id)) for w in store.windows(db, model.id)]
        alerts = [
            {
                "monitor": a.monitor, "metric": a.metric, "column": a.column, "value": a.value, "limit": a.limit,
                "sentence": a.sentence, "opened_at": a.opened_at.isoformat(), "windows": a.windows, "state": a.state,
            }
            for a in store.alerts(db, model.id)
        ]  # fmt: skip
        runs = [
            {
                "at": d.at.isoformat(),
                "fired": d.fired,
                "reason": d.reason,
                "triggers": d.triggers,
                "blocked_by": d.blocked_by,
            }
            for d in retrain_store.decisions(db, model.id)
        ]
    return {"model": spec.model, "windows": windows, "alerts": alerts, "runs": runs, "rejected": rejected}


def _window(window: Window, measured: Any) -> dict[str, Any]:
    kpi = {
        m.metric: {"realised": m.value, "estimated": None, "low": m.low, "high": m.high, "n": m.n, "reason": m.reason}
        for m in measured
        if m.monitor == "kpi"
    }
    fairness = [
        {
            "metric": m.metric,
            "by": m.column,
            "value": m.value,
            "reason": m.reason,
            "limit": m.limit,
            "alarm": m.alarm,
            "n": m.n,
        }
        for m in measured
        if m.monitor == "fairness"
    ]
    return {
        "from": window.from_ts.isoformat(), "to": window.to_ts.isoformat(), "scale": window.scale, "rows": window.rows,
        "verdict": window.verdict, "sentence": window.sentence, "alarms": _alarms(window, measured), "kpi": kpi,
        "fairness": fairness,
    }  # fmt: skip


def _alarms(window: Window, measured: list[Measurement]) -> list[dict[str, Any]]:
    """What tripped: for drift one line for each column that is named, else the test of the whole model."""
    alarms: list[dict[str, Any]] = []
    for m in measured:
        if not m.alarm:
            continue
        named = [c for c in window.decision["columns"] if c["alarmed"]] if m.monitor == "drift" else []
        alarms += [
            {"monitor": "drift", "metric": c["effect"], "column": c["column"], "value": c["value"], "limit": None,
             "p": c["adjusted_p"], "alpha": window.decision["alpha"]}
            for c in named
        ]  # fmt: skip
        if not named:
            alarms.append(
                {"monitor": m.monitor, "metric": m.metric, "column": m.column, "value": m.value, "limit": m.limit}
            )
    return alarms
