"""Rows and labels of a period, each counted once however many windows saw it."""

from collections.abc import Iterable, Sequence

from monitor.tables import Window
from reports import document as doc


def length_lines(windows: Iterable[Window]) -> tuple[doc.LengthLine, ...]:
    """The windows by their length, in order of the rows they hold. Windows of one length do not overlap."""
    by_scale: dict[str, list[Window]] = {}
    for window in windows:
        by_scale.setdefault(window.scale, []).append(window)
    lines = [
        doc.LengthLine(
            scale=scale, windows=len(mine), rows=sum(w.rows for w in mine), labels=sum(w.labels for w in mine),
            alarmed=sum(w.verdict == "alarm" for w in mine),
        )
        for scale, mine in by_scale.items()
    ]  # fmt: skip
    return tuple(sorted(lines, key=lambda line: (-line.rows, line.windows, line.scale)))


def counted_once(lines: Sequence[doc.LengthLine]) -> tuple[int, int]:
    """Rows and labels of the period: those of the length whose windows hold the most, for lengths overlap."""
    return (lines[0].rows, lines[0].labels) if lines else (0, 0)


def length_words(lines: Sequence[doc.LengthLine]) -> str:
    """`34 windows of 500 rows`, `90 windows of 1d and 12 of 7d`."""
    said = [f"{line.windows:,} of {line.scale}" for line in lines]
    if not said:
        return "no window"
    first = "1 window" if lines[0].windows == 1 else f"{lines[0].windows:,} windows"
    return " and ".join([f"{first} of {lines[0].scale}", *said[1:]])
