"""Numbers and times as charts, pages and reports print them."""

import math
from datetime import UTC, datetime


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it: fixed decimals, thousands apart, None as an en dash."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and abs(value) < 10**-digits:
        return f"{value:.1e}"
    if abs(value) >= 100:
        return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.{digits}f}"


def short(value: float) -> str:
    """A number as a label of an axis: three significant digits, in full up to a million."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def utc(at: datetime) -> str:
    moment = at.astimezone(UTC)
    return f"{moment.year:04}-{moment:%m-%d %H:%M} UTC"  # %Y writes year 1 as 1
