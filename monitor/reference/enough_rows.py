"""Say at once that a declared range or dataset has too few rows for a reference, and what to write instead."""

from datetime import datetime, timedelta
from typing import Final

from core.errors import InvalidError
from monitor.detect.permutation_statistics import MIN_VALUES
from monitor.service import CurrentSpec
from monitor.site import Site

MIN_ROWS: Final = MIN_VALUES + 1  # with fewer, numbers are watched for missing values only
_DAY: Final = timedelta(days=1)


class TooFewRowsError(InvalidError):
    """A declared range that is over, or a registered dataset, has too few rows for a reference."""

    code = "reference_too_few_rows"


def check_enough_rows(site: Site, current: CurrentSpec, rows: int) -> None:
    """Refuse a reference of a range that is over, or of a dataset, with too few rows.

    Args:
        rows: of the reference.

    Raises:
        TooFewRowsError: there are fewer than MIN_ROWS.
    """
    baseline = current.spec.fixed_baseline
    if rows >= MIN_ROWS or baseline is None or (baseline.range is None and baseline.dataset is None):
        return
    have = "1 row" if rows == 1 else f"{rows:,} rows"
    if baseline.dataset is not None:
        raise TooFewRowsError(
            f"baseline.dataset {baseline.dataset!r} has {have}, and a reference needs at least {MIN_ROWS}; register a "
            "larger dataset under this name, or write `baseline: {rows: first 1000}`",
            field="baseline.dataset", value=baseline.dataset, rows=rows,
        )  # fmt: skip
    assert baseline.range is not None
    start, end = baseline.range.from_, baseline.range.to
    raise TooFewRowsError(
        f"baseline.range from {_minute(start)} to {_minute(end)} is over and received {have}, and a reference needs at "
        f"least {MIN_ROWS}; {_instead(site, current)}",
        field="baseline.range", value=f"{_minute(start)} to {_minute(end)}", rows=rows,
    )  # fmt: skip


def _instead(site: Site, current: CurrentSpec) -> str:
    extent = site.events.extent(current.model.name)
    first_rows = "`baseline: {rows: first 1000}`"
    if extent.first_ts is None or extent.last_ts is None or extent.rows < MIN_ROWS:
        return f"too few rows have arrived at all; write {first_rows}, which waits for the next ones"
    begin, last = (
        datetime.combine(ts.date(), datetime.min.time(), ts.tzinfo) for ts in (extent.first_ts, extent.last_ts)
    )
    return (
        f"the {extent.rows:,} rows of this model lie between {_minute(extent.first_ts)} and {_minute(extent.last_ts)}: "
        f"write `baseline: {{range: {{from: {_minute(begin)}, to: {_minute(last + _DAY)}}}}}` or a part of it that has "
        f"enough rows, or {first_rows}"
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%MZ}"
