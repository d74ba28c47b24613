"""The answer to "was it fair over this period, for whom, how sure", in sentences that somebody can defend.

Every sentence is made from figures by templates. "Fair" is said of declared limits alone, and only where every interval
lies inside its limit; a limit inside an interval is "cannot say". No sentence says that a rule of law is met.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from reports.charts.text import number, utc
from reports.fairness import CellLine, DisparityLine, Fair
from reports.parts import Unmeasured
from reports.wording.phrases import metric_words

NAMED: Final = 4  # groups or disparities that a sentence names; the tables have all
_HELD: Final = {
    "beyond": "beyond the limit {}",
    "inside": "inside the limit {}",
    "cannot say": "and its limit {} lies within",
}


def answer_of(lines: Sequence[DisparityLine], uncounted: int = 0) -> Fair:
    """The answer that the declared limits give: the worst of theirs. Nothing is fair by a class that nobody declared,
    or where windows of the period are in no counts.

    Args:
        lines: every disparity that was measured or should have been.
        uncounted: windows of the period that were recorded without counts.
    """
    judged = [line for line in lines if line.limit is not None]
    if any(line.verdict == "beyond" or line.alarmed for line in judged):
        return "not fair"
    held = all(line.verdict == "inside" and not line.assumed for line in judged)
    return "fair" if judged and held and not uncounted else "cannot say"


def first_sentence(
    lines: Sequence[DisparityLine], start: datetime, end: datetime, windows: int, *, named: bool = True,
    uncounted: int = 0,
) -> str:  # fmt: skip
    """Fair, not fair, or cannot say, by which limit, and for which groups.

    Args:
        lines: every disparity that was measured or should have been.
        windows: whose counts are added up.
        named: whether the spec declares a protected column.
        uncounted: windows of the period that were recorded without counts.
    """
    answer, when = answer_of(lines, uncounted), f"from {utc(start)} to {utc(end)}"
    judged = [line for line in lines if line.limit is not None]
    if answer == "fair":
        return (
            f"Fair by the declared limits {when}: {_counted(len(judged), 'disparity', 'disparities')} "
            f"{'lies' if len(judged) == 1 else 'lie'} inside with the whole interval. Closest to its limit: "
            f"{disparity_words(_closest(judged))}."
        )
    if answer == "not fair":
        beyond = [line for line in judged if line.verdict == "beyond"]
        if not beyond:
            parts = [line for line in judged if line.alarmed]
            return (
                f"Not fair in part of the period {when}: {_some([_in_part(line) for line in parts])}. "
                f"Over the whole period: {disparity_words(parts[0])}."
            )
        return f"Not fair {when}: {_some([disparity_words(line) for line in beyond])}."
    if not named:
        return f"Cannot say {when}: the spec declares no protected column, so no groups are compared."
    return f"Cannot say {when}: {_why_not(lines, windows, uncounted)}."


def disparity_words(line: DisparityLine) -> str:
    """One disparity with interval, limit and the groups behind it."""
    name = f"{metric_words(line.metric)} by `{line.by}`"
    name += f" (of `{line.positive}`, class assumed)" if line.assumed and line.positive is not None else ""
    if line.value is None:
        return f"{name} was not measured, because {line.reason}"
    said = f"{name} is {number(line.value)} ({_interval(line.low, line.high)})"
    if line.limit is not None and line.verdict in _HELD:
        said += ", " + _HELD[line.verdict].format(f"{line.limit_word} {line.limit:g}")
    return said + (f": {_apart(line)}" if line.groups else "")


def for_whom(lines: Sequence[DisparityLine]) -> str:
    """Which groups lie furthest apart, for each disparity."""
    measured = [line for line in lines if line.value is not None and line.groups]
    if not measured:
        return "For whom: no two groups could be compared."
    order = {"beyond": 0, "cannot say": 1, "inside": 2, "no limit": 3, "not measured": 4}
    measured.sort(key=lambda line: (order[line.verdict], not line.declared))
    return "For whom: " + _some([f"{metric_words(li.metric)} by `{li.by}`: {_apart(li)}" for li in measured]) + "."


def how_sure(lines: Sequence[DisparityLine], cells: Sequence[CellLine], level: float, min_cell: int | None) -> str:
    """What the intervals are, and which groups are too small to say much about."""
    methods = list(dict.fromkeys(line.method for line in lines if line.method))
    if not any(line.value is not None for line in lines) and not cells:
        return "How sure: nothing was measured, so there are no intervals."
    said = f"How sure: intervals are {100 * level:g} %"
    said += f" ({'; '.join(methods)}). " if methods else ". "
    said += "A limit counts as held or broken only where the whole interval lies on one side of it."
    small = {(cell.by, cell.group): cell.n for cell in cells if cell.small}
    if small and min_cell is not None:
        named = [f"{group} of `{by}` (n = {n:,})" for (by, group), n in small.items()]
        one = len(small) == 1
        said += (
            f" {_counted(len(small), 'group has', 'groups have')} fewer than {min_cell:,} rows and "
            f"{'is' if one else 'are'} shown with {'its interval' if one else 'their intervals'}, beside a rate drawn "
            f"towards that of all rows: {_some(named)}."
        )
    return said


def what_not(missing: Sequence[Unmeasured]) -> str:
    if not missing:
        return "Not measured: nothing that was declared is missing."
    found = [f"{one.what}, {f'{one.count:,}: ' if one.count is not None else ''}{one.why}" for one in missing]
    return "Not measured: " + "; ".join(found) + "."


def class_words(positive: str | None, assumed: bool) -> str:
    if positive is None:
        return "No class is declared favourable: of more than two, each is compared against the rest; of two, none is."
    return (
        f"The favourable answer is `{positive}`, class assumed: no spec declares it"
        if assumed
        else f"The favourable answer is `{positive}`, as the spec declares"
    ) + "."


def _interval(low: float | None, high: float | None) -> str:
    return "no interval" if low is None or high is None else f"{number(low)} to {number(high)}"


def _apart(line: DisparityLine) -> str:
    said = " and ".join(f"{number(g.value)} in {g.group} (n = {g.n:,})" for g in line.groups)
    return f"{metric_words(line.rate)} {said}" if line.rate else said


def _in_part(line: DisparityLine) -> str:
    return (
        f"{metric_words(line.metric)} by `{line.by}` was beyond {line.limit_word} {line.limit:g} in {line.alarmed:,} "
        f"of {_counted(line.windows, 'window', 'windows')}"
    )


def _why_not(lines: Sequence[DisparityLine], windows: int, uncounted: int) -> str:
    judged = [line for line in lines if line.limit is not None]
    earlier = (
        f"{_counted(uncounted, 'window of the period was', 'windows of the period were')} recorded by an earlier "
        "release, before rows were counted by group"
    )
    if not windows and uncounted:
        return earlier
    if not windows:
        return "no window lies in the period"
    unsure = [line for line in judged if line.verdict != "inside"]
    if unsure:
        return _some([disparity_words(line) for line in unsure])
    guessed = next((line for line in judged if line.assumed), None)
    if guessed is not None:
        return (
            f"the limits hold for the answer `{guessed.positive}`, and nobody declared that it is the favourable one; "
            f"name it with `positive`. {disparity_words(guessed)}"
        )
    if judged and uncounted:
        return f"the limits hold in the rows that were counted, but {earlier}"
    measured = [line for line in lines if line.value is not None]
    if not measured:
        return next((str(line.reason) for line in lines if line.reason), "the spec declares no protected column")
    return f"the spec declares no limit for any disparity. Measured: {disparity_words(measured[0])}"


def _closest(lines: Sequence[DisparityLine]) -> DisparityLine:
    """The disparity whose interval comes closest to its limit."""

    def distance(line: DisparityLine) -> float:
        ends = [end for end in (line.low, line.high, line.value) if end is not None]
        return min((abs(end - (line.limit or 0.0)) for end in ends), default=float("inf"))

    return min(lines, key=distance)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _some(parts: Sequence[str]) -> str:
    rest = len(parts) - NAMED
    return "; ".join(parts[:NAMED]) + (f"; and {rest:,} more" if rest > 0 else "")
