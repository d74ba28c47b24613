"""How far a number lies beyond its limit, in words: in points for a share, else as a part of the limit."""

from core.figures import figure, points
from monitor import sizes


def measured(value: float | None) -> str:
    """A number of a window: three decimals below 100, as intervals beside it have, else as `figure`."""
    return f"{value:.3f}" if value is not None and abs(value) < 100 else figure(value)


def is_share(unit: str) -> bool:
    return unit.startswith("share")


def unit_word(unit: str) -> str:
    """The unit behind a number; empty for shares, ratios and what has none."""
    plain = is_share(unit) or unit in ("", "ratio", "number", "probability", "column", "outcome")
    return "" if plain else f" {unit}"


def beyond(value: float | None, limit: float | None, unit: str) -> str:
    """` by 9.3 points, moderate`; empty where one of the numbers is missing."""
    if value is None or limit is None:
        return ""
    if is_share(unit):
        return f" by {points(value - limit)}, {sizes.of_points(value - limit)}"
    if unit == "ratio":
        return f" by {figure(abs(value - limit))}, {sizes.of_ratio(value)} for a ratio"
    if not limit:
        return f" by {figure(abs(value - limit))}{unit_word(unit)}, {sizes.of_relative(limit, value)}"
    part = abs(value - limit) / abs(limit)
    return f" by {figure(100 * part)} % of it, {sizes.of_relative(limit, value)}"
