"""What drove an alert, in one or two sentences that a person reads at night."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from monitor import sizes
from monitor.why.cuts import MISSING, Shares, percent
from monitor.why.drift import LEAST_ROWS, DriftFinding, Driver
from monitor.why.lost import Leaf, LostFinding

MOST_NAMED: Final = 2  # columns
MOST_WORDS: Final = 5
MOST_LEAVES: Final = 2
BEYOND_CHANCE: Final = 2.58  # of a difference of two shares, in standard errors: 1 % where nothing changed
NOTHING: Final = "No input tells the window from the reference"


def drift_sentence(found: DriftFinding, units: Mapping[str, str] = MappingProxyType({})) -> str:
    """What tells the window from the reference.

    Args:
        units: of the columns that have one.
    """
    if found.separation is None:
        rows = min(found.rows_reference, found.rows_window)
        if rows < LEAST_ROWS:
            return f"{NOTHING}: {rows} rows are too few to say, {LEAST_ROWS} are needed on each side."
        return f"{NOTHING}: there is no input that could be compared."
    area = found.separation
    if area.low <= 0.5:
        return (
            f"{NOTHING} (area under the ROC curve {area.value:.2f}, 95 % interval {area.low:.2f} to {area.high:.2f}; "
            "0.5 is chance)."
        )
    if not found.drivers:
        return f"The window differs from the reference (area under the ROC curve {area.value:.2f}), in no single input."
    named = [d for d in found.drivers if d is found.drivers[0] or not d.values or _told(d, found)][:MOST_NAMED]
    return f"What changed most: {'; then '.join(_driver(d, found, units) for d in named)}.{_carried(found)}"


def _told(driver: Driver, found: DriftFinding) -> bool:
    """Whether the share that changed most differs beyond chance: a shape can change while no share does."""
    share, sides = driver.values[0], (found.rows_reference, found.rows_window)
    both = (share.reference * sides[0] + share.window * sides[1]) / sum(sides)
    error = (both * (1 - both) * (1 / sides[0] + 1 / sides[1])) ** 0.5
    return bool(abs(share.change) > BEYOND_CHANCE * error)


def _driver(driver: Driver, found: DriftFinding, units: Mapping[str, str]) -> str:
    if driver.words and not driver.values:
        more = [w for w in driver.words if w.window > w.reference][:MOST_WORDS]
        told = more or list(driver.words[:MOST_WORDS])
        words = ", ".join(f"`{w.word}` ({percent(w.window)}, before {percent(w.reference)})" for w in told)
        size = sizes.of_shares(told[0].reference, told[0].window)
        return f"`{driver.column}` has {'more' if more else 'fewer'} texts with {words}, {size}"
    if driver.values and _told(driver, found):
        return f"`{driver.column}` {_value(driver.values[0], units.get(driver.column, ''))}"
    if driver.kind == "text":
        return f"`{driver.column}`, in no word that several people use"
    return f"`{driver.column}` as a whole"


def _value(found: Shares, unit: str) -> str:
    what = f"has {found.value}" if found.value == MISSING else f"{found.value} {unit}".rstrip()
    size = sizes.of_shares(found.reference, found.window)
    return f"{what} in {percent(found.window)} of rows, {percent(found.reference)} in the reference, {size}"


def _carried(found: DriftFinding) -> str:
    if not found.carriers:
        return ""
    first = found.carriers[0]
    return (
        f" It is carried by {first.column} = {first.value}: {percent(first.share)} of its rows are unlike the "
        f"reference, {percent(first.elsewhere)} elsewhere."
    )


def lost_sentence(found: LostFinding, lost: str, among: str = "") -> str:
    """What the lost cases have in common.

    Args:
        lost: what happened to them, such as `wrong`.
        among: whom they are compared within, such as `among age_band = '65+'`.
    """
    within = f" {among}" if among else ""
    if not found.leaves:
        return f"Nothing tells the lost cases ({lost}) from others{within}: {found.reason}."
    return f"Most often {lost}{within}: {'; '.join(_leaf(leaf, lost) for leaf in found.leaves[:MOST_LEAVES])}."


def _leaf(leaf: Leaf, lost: str) -> str:
    before = "" if leaf.reference is None else f"; {percent(leaf.reference)} in the reference"
    return (
        f"{' and '.join(leaf.conditions)}: {percent(leaf.share)} {lost} (n = {leaf.rows:,}, 95 % interval "
        f"{percent(leaf.low)} to {percent(leaf.high)}) against {percent(leaf.elsewhere)} elsewhere, "
        f"{sizes.of_shares(leaf.elsewhere, leaf.share)}{before}"
    )
