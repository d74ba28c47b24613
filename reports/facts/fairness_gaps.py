"""What of a period a reader of the officer's answer might take for measured and is not."""

from collections.abc import Iterator, Sequence

from monitor.fairness.counts import GroupCounts
from monitor.fairness.grouping import MISSING
from monitor.spec.model import ModelSpec
from monitor.windows.period_counts import PeriodCounts
from reports.charts.text import utc
from reports.facts.fairness_figures import labelled_of, rows_of
from reports.fairness import DisparityLine
from reports.parts import Unmeasured


def unmeasured(
    spec: ModelSpec, period: PeriodCounts, columns: Sequence[str], withheld: Sequence[str],
    lines: Sequence[DisparityLine],
) -> tuple[Unmeasured, ...]:  # fmt: skip
    """Everything that a reader might take for measured and is not: rows, groups, windows, disparities."""
    found, counts = list[Unmeasured](), period.counts
    if not columns and not withheld:
        return (Unmeasured(what="fairness between groups", why="the spec declares no protected column", count=None),)
    if not period.windows and not period.uncounted:
        found.append(Unmeasured(what="the whole period", why="no window lies in it", count=None))
    found += _windows_left_out(period)
    found += [
        Unmeasured(what=f"groups of `{name}`", why="values of this protected column are withheld from you", count=None)
        for name in withheld
    ]
    if counts is not None:
        found += _rows_left_out(spec, counts, columns)
    found += [
        Unmeasured(what=f"{line.metric.replace('_', ' ')} by `{line.by}`", why=str(line.reason), count=None)
        for line in lines
        if line.declared and line.value is None
    ]
    return tuple(found)


def _windows_left_out(found: PeriodCounts) -> Iterator[Unmeasured]:
    """Rows of the period that are in no counts, and the parts of it without a window."""
    for windows, why in (
        (found.uncounted, "recorded by an earlier release, before rows were counted by group"),
        (found.reaching_out, "they lie in the period only in part, and are left out whole"),
    ):
        if windows:
            many = "1 window" if len(windows) == 1 else f"{len(windows):,} windows"
            yield Unmeasured(what=f"rows of {many}", why=why, count=sum(window.rows for window in windows))
    if found.windows:
        first, last = found.windows[0].from_ts, found.windows[-1].to_ts
        if first > found.start:
            yield Unmeasured(what=f"the time before {utc(first)}", why="no window lies in it", count=None)
        if last < found.end:
            yield Unmeasured(what=f"the time after {utc(last)}", why="no window has ended in it", count=None)


def _rows_left_out(spec: ModelSpec, counts: GroupCounts, columns: Sequence[str]) -> Iterator[Unmeasured]:
    rows, known = answered(counts, spec.task), counts.columns
    for name in columns:
        if name not in known:
            why = "no window of the period counted this column"
            yield Unmeasured(what=f"groups of `{name}`", why=why, count=None)
            continue
        cells = counts.cells([name], None)
        sizes = rows_of(cells, spec.task)
        missing = sum(int(n) for levels, n in zip(cells.levels, sizes, strict=True) if MISSING in levels)
        if missing:
            why = "the value is missing; they are the group (missing), shown and compared with nobody"
            yield Unmeasured(what=f"rows of unknown `{name}`", why=why, count=missing)
    if unanswered := counts.rows - rows:
        yield Unmeasured(what="rows without an answer", why="no rate counts them", count=unanswered)
    labelled = labelled_rows(counts, spec.task)
    if spec.target is None:
        why = "no outcome fits the prediction; name one with `predicts` on the prediction column"
        yield Unmeasured(what="rates that read outcomes", why=why, count=None)
    elif waiting := rows - labelled:
        why = "rates that read outcomes leave them out" + ("" if labelled else "; none has arrived yet")
        yield Unmeasured(what="rows without an outcome", why=why, count=waiting)


def answered(counts: GroupCounts, task: str) -> int:
    """Rows that have a prediction."""
    return int(rows_of(counts.cells(counts.columns[:1], None), task).sum())


def labelled_rows(counts: GroupCounts, task: str) -> int:
    """Rows that have a prediction and an outcome."""
    return int(labelled_of(counts.cells(counts.columns[:1], None), task).sum())
