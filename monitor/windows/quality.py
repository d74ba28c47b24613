"""Data quality and volume of a window: every check of the catalogue against the reference, each within its budget."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import polars as pl

from core.cache import CacheKind
from core.figures import figure
from monitor import sizes
from monitor.quality import QUALITY, FaultCounts, QualityCheck, Rise, Volume, adjusted, counts, rise, volume
from monitor.quality.base import MIN_RISE, Learned
from monitor.quality.named import NamedRows
from monitor.quality.volume import MAX_FACTOR, NAME
from monitor.reference import choose_rows
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec import false_alarm_budget
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import block_length
from monitor.tables import ReferenceRow
from monitor.windows.faulty_rows import document, faulty_rows, in_words
from monitor.windows.readings import Reading

MIN_LABELLED_SHARE: Final = 0.95  # of the reference, before the delay of its labels is learned
UNCHECKED_ROLES: Final = ("subject", "outcome")
QUALITY_LEARNED: Final = CacheKind[str, dict[str, Any]]("what quality checks learned, by digest", most=8)
FAULT_NAMES: Final[Mapping[str, str]] = {
    "duplicates": "rows that repeat one near them", "freshness": "events that arrived late",
    "label_delay": "outcomes that arrived late", "missing": "missing values", "out_of_range": "values out of range",
    "unseen": "categories never seen before",
}  # fmt: skip


def with_quality_learned(site: Site, current: CurrentSpec, row: ReferenceRow) -> ReferenceRow:
    """The reference, with what the checks learn from it once, and the delay of labels once 95 % have arrived."""
    if row.state != "ready" or (row.quality is not None and row.quality_labels):
        return row
    known = _labelled_reference(site, current, row)
    if row.quality is not None and known is None:
        return row
    frame = choose_rows.reference_rows(site, current, row)
    if frame is None or frame.is_empty():
        return row
    found = [
        _learn_check(QUALITY[name], column, frame, _limits(current.spec, column))
        for name, column in _planned_checks(current.spec)
    ]
    if known is not None:
        found.append(_learn_check(QUALITY["label_delay"], "", known, {}))
    document = {
        "checks": [f for f in found if f is not None], "volume": _rows_per_block(current.spec, row, frame),
        "spec_revision": current.revision,
    }  # fmt: skip
    digest = site.artifacts.put(json.dumps(document, sort_keys=True, allow_nan=False).encode())
    with site.database.write() as db:
        stored = db.get_one(ReferenceRow, row.id, with_for_update=True)
        stored.quality, stored.quality_labels = digest, known is not None
        return stored


def _labelled_reference(site: Site, current: CurrentSpec, row: ReferenceRow) -> pl.DataFrame | None:
    """Labelled rows of the reference with their times; None until nearly all labels have arrived."""
    if row.to_seq is None or row.to_seq <= row.from_seq or not current.spec.with_role("outcome") or not row.rows:
        return None
    name = current.model.name
    if site.events.extent(name).outcomes < MIN_LABELLED_SHARE * row.rows:
        return None
    frame = site.events.labelled(name, from_seq=row.from_seq, to_seq=row.to_seq, columns=["ts"])
    if (target := current.spec.target) is not None:
        frame = frame.drop_nulls(target) if target in frame.columns else frame.clear()
    return frame if frame.height >= MIN_LABELLED_SHARE * row.rows else None


def _planned_checks(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Name and column of each check that is made, except the delay of labels."""
    for check in QUALITY.values():
        if check.scope == "rows":
            yield check.name, ""
        for name, column in spec.columns.items():
            if check.scope == "column" and column.type in check.types and column.role not in UNCHECKED_ROLES:
                yield check.name, name


def _limits(spec: ModelSpec, column: str) -> Learned:
    declared = spec.columns.get(column)
    return {"min": declared.min, "max": declared.max} if declared is not None else {}


def _learn_check(check: QualityCheck, column: str, frame: pl.DataFrame, limits: Learned) -> dict[str, Any] | None:
    """What one check learns from the reference, and the reference's own faults per block; None where it cannot run."""
    view = _view(check, column, frame)
    if view is None:
        return None
    whole = check.learn(view, limits)
    half = check.learn(view[: view.height // 2], limits) if check.halved else whole
    if whole is None or half is None:
        return None
    tested = view[view.height // 2 :] if check.halved else view
    found = counts(check.flag(tested, half))
    return {"check": check.name, "column": column, "learned": whole, "faults": found.faults, "rows": found.rows}


def _view(check: QualityCheck, column: str, frame: pl.DataFrame) -> pl.DataFrame | None:
    if check.scope == "column":
        return frame.get_column(column).alias("value").to_frame() if column in frame.columns else None
    needed = {"freshness": ("ts", "received_at"), "label_delay": ("ts", "outcome_ts")}.get(check.name, ())
    return frame if all(c in frame.columns for c in needed) else None


def _rows_per_block(spec: ModelSpec, row: ReferenceRow, frame: pl.DataFrame) -> dict[str, Any]:
    """Number of rows in each whole time block of the reference, from block `first` on; empty for row windows.

    Blocks at another rate than now do not count, and blocks of windows that did not enter the reference are null.
    """
    windows = spec.monitors.window_lengths
    if row.steady_at is not None and "ts" in frame.columns:
        frame = frame.filter(pl.col("ts") >= row.steady_at)
    if isinstance(windows, RowWindow) or "ts" not in frame.columns or frame.is_empty():
        return {"first": 0, "rows": []}
    length = block_length(windows)
    seconds = length.total_seconds()
    spans = [[datetime.fromisoformat(at).timestamp() for at in span] for span in row.left_out]
    start, end = frame["ts"].min(), frame["ts"].max()
    assert isinstance(start, datetime)
    assert isinstance(end, datetime)
    counted = _block_counts(frame, start, end, length)
    begun = min(counted, default=0)
    rows = [
        None if any(s < (block + 1) * seconds and block * seconds < e for s, e in spans) else n
        for block, n in sorted(counted.items())
        if block > begun
    ]  # the first block is not whole: it began before its first event
    return {"first": begun + 1, "rows": rows}


def _block_counts(frame: pl.DataFrame, start: datetime, end: datetime, length: timedelta) -> dict[int, int]:
    """Number of rows in each clock-aligned block, from the one that holds `start` up to the one that holds `end`."""
    seconds = length.total_seconds()
    first, after = int(start.timestamp() // seconds), int(end.timestamp() // seconds)
    number = (frame["ts"].dt.epoch("ms") // int(seconds * 1000)).value_counts(name="rows")
    by_number = dict(number.iter_rows())
    return {i: int(by_number.get(i, 0)) for i in range(first, after)}


def volume_of(
    site: Site, spec: ModelSpec, row: ReferenceRow, window: pl.DataFrame, times: tuple[datetime, datetime]
) -> Volume | None:
    """The volume of a time window, compared with the reference.

    Args:
        window: rows of the window, with `ts`.
        times: its start and end.

    Returns:
        None for row windows, and until the checks have learned from the reference.
    """
    windows = spec.monitors.window_lengths
    if row.quality is None or isinstance(windows, RowWindow):
        return None
    known, length = _loaded(site, row.quality)["volume"], block_length(windows)
    expected = {known["first"] + i: n for i, n in enumerate(known["rows"]) if n is not None}
    return volume(expected, _block_counts(window, *times, length), int(length.total_seconds()))


def volume_reading(found: Volume, alpha: float) -> Reading:
    """The reading of a volume; a change by less than a factor of two never alarms, however small its p value is.

    Args:
        alpha: probability of a false alarm allowed for this window.
    """
    alarm = found.changed(alpha)
    return Reading(
        NAME, NAME, found.value, found.reason if found.value is None else None, "rows per block", found.n,
        n_reference=found.n_reference, alarm=alarm,
        details={
            "reference": found.expected, "ratio": found.ratio, "p": found.p, "alpha": alpha, "spread": found.spread,
            "phases": found.phases, "blocks": found.blocks, "not_tested": found.reason, "floor": MAX_FACTOR,
        },
        sentence=_volume_sentence(found) if alarm else "",
    )  # fmt: skip


def volume_from_reading(stored: Any) -> Volume:
    """The volume from which `volume_reading` made a reading.

    Args:
        stored: any row with the fields of the reading.
    """
    known = stored.details
    return Volume(
        stored.value, known["reference"], known["ratio"], known["p"], known["not_tested"], stored.n,
        stored.n_reference, known["spread"], known["phases"], known["blocks"],
    )  # fmt: skip


def _volume_sentence(found: Volume) -> str:
    return (
        f"Volume: {figure(found.value)} rows per block, against {figure(found.expected)} expected at this time of the "
        f"week, {_volume_size(found)} ({found.times}, p = {found.p:.2g})."
    )


def _volume_size(found: Volume) -> str:
    return sizes.of_factor(found.ratio if found.ratio is not None else 0.0)


def usual_label_delay(site: Site, row: ReferenceRow) -> timedelta | None:
    """The delay between event and outcome that 99 % of the reference's labels kept; None until it is known."""
    if row.quality is None:
        return None
    found = [c["learned"]["seconds"] for c in _loaded(site, row.quality)["checks"] if c["check"] == "label_delay"]
    return timedelta(seconds=found[0]) if found else None


def _loaded(site: Site, digest: str) -> dict[str, Any]:
    return site.cache.get(QUALITY_LEARNED, digest, lambda: json.loads(site.artifacts.get(digest)))


def quality_readings(
    site: Site, current: CurrentSpec, row: ReferenceRow, from_seq: int, labelled: pl.DataFrame, window: pl.DataFrame,
    scale: str,
) -> list[Reading]:  # fmt: skip
    """Share of faulty rows found by each check, compared with the reference.

    Holm's method over all checks keeps the window's share of the false-alarm budget.

    Args:
        from_seq: first sequence number of the window; a window inside the reference has no readings.
        labelled: rows of the window whose outcome has arrived.
        window: all rows of the window.

    Source: Holm (1979).
    """
    if row.quality is None or row.to_seq is None or from_seq < row.to_seq:
        return []
    results: list[tuple[str, str, Rise, Callable[[], list[NamedRows]]]] = []
    for entry in _loaded(site, row.quality)["checks"]:
        check = QUALITY[entry["check"]]
        view = _view(check, entry["column"], labelled if check.scope == "labels" else window)
        if view is not None:
            known = FaultCounts(tuple(entry["faults"]), tuple(entry["rows"]))
            which = partial(faulty_rows, current.spec, check, entry["column"], window, entry["learned"])
            results.append(
                (check.name, entry["column"], rise(known, counts(check.flag(view, entry["learned"]))), which)
            )
    return _judged(results, false_alarm_budget.alpha(current.spec, "quality", scale))


def _judged(results: Sequence[tuple[str, str, Rise, Callable[[], list[NamedRows]]]], alpha: float) -> list[Reading]:
    """The readings of all checks; the rows of those that alarm are named by their values."""
    tested = [r.p for _, _, r, _ in results if r.p is not None]
    corrected = iter(adjusted(tested))
    readings = []
    for name, column, found, which in results:
        p = next(corrected) if found.p is not None else None
        alarm = p is not None and p <= alpha and is_above_floor(found.value, found.reference)
        value, reason = found.value, found.reason
        rows = which() if alarm else []
        readings.append(
            Reading(
                "quality", name, value, None if value is not None else reason or "no row counts",
                "share of rows", found.n, column=column, alarm=alarm,
                n_reference=found.n_reference,
                details={
                    "reference": found.reference, "p": found.p, "adjusted_p": p, "alpha": alpha,
                    "spread": found.spread, "not_tested": reason, "floor": MIN_RISE,
                    **({"faulty_rows": document(rows)} if rows else {}),
                },
                sentence=_sentence(name, column, found) + in_words(rows, by_column=bool(column)) if alarm else "",
            )
        )  # fmt: skip
    return readings


def is_above_floor(value: float | None, expected: float | None) -> bool:
    """Whether the share of faulty rows rose by at least the minimum effect of a check."""
    return value is not None and expected is not None and value - expected >= MIN_RISE


def _sentence(name: str, column: str, found: Rise) -> str:
    assert found.value is not None
    assert found.reference is not None
    where = f"`{column}`: " if column else ""
    return (
        f"Data quality: {where}{FAULT_NAMES[name]} in {100 * found.value:.1f} % of rows, "
        f"against {100 * found.reference:.1f} % in the reference, {sizes.of_shares(found.reference, found.value)}."
    )
