"""Numbers as a sentence says them: three significant digits, thousands apart, never a long row of digits."""

import math
from typing import Final

WORDS: Final = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
LEAST: Final = 1e-4  # below it, digits after the point are counted and not written


def figure(value: float | None) -> str:
    """A measured number: `0.0195`, `12.3`, `1,230`, `123,000`, `1.23 million`; `unknown` where there is none."""
    if value is None or not math.isfinite(value):
        return "unknown"
    size = abs(value)
    if size == 0:
        return "0"
    if size < LEAST or size >= 1e15:
        return f"{value:.3g}"
    rounded = float(f"{value:.3g}")
    for least, word in WORDS:
        if abs(rounded) >= least:
            return f"{rounded / least:.3g} {word}"
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:.3g}"


def count(number: int) -> str:
    """A number of rows: exact up to five digits, else as `figure`."""
    return f"{number:,}" if abs(number) < 100_000 else figure(number)


def cut(value: float) -> str:
    """A cut point: as `figure`, but to four digits up to 10,000, so that years and round numbers stay what they are."""
    if 1000 <= abs(value) < 10_000:
        return f"{float(f'{value:.4g}'):,.0f}"
    return figure(value)


def points(change: float) -> str:
    """A difference of two shares in percentage points: `9.3 points`, without its sign."""
    found = abs(100 * change)
    said = "under 0.1" if 0 < found < 0.1 else f"{found:.2g}" if found < 1 else f"{found:.1f}".removesuffix(".0")
    return f"{said} {'point' if said == '1' else 'points'}"
