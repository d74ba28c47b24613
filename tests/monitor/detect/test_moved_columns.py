"""Columns that move within a reference are named, and a reference whose blocks are alike is left in peace."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from monitor.detect.moved_columns import Stability, moved_columns, stability
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile

DAYS, ROWS = 16, 120


def reference(days: int = DAYS, rows: int = ROWS, seed: int = 0, **columns: Any) -> ReferenceProfile:
    """Quarters of days with an amount and a region, and further columns: functions of (generator, place in 0..1)."""
    random, count = np.random.default_rng(seed), days * rows
    place = np.arange(count) / count
    data = {
        "amount": random.normal(size=count), "region": random.choice(["north", "south", "east"], count),
        **{name: made(random, place) for name, made in columns.items()},
    }  # fmt: skip
    frame = pl.DataFrame(data)
    kinds: Any = {name: "number" if dtype.is_numeric() else "category" for name, dtype in frame.schema.items()}
    return fit_reference(frame, kinds, blocks=np.arange(count) * 4 // rows, parts=4)


def level(share: Any) -> Any:
    """A category that is `mobile` in a share of rows which depends on their place, else `landline`."""
    return lambda random, place: np.where(random.random(len(place)) < share(place), "mobile", "landline")


def named(found: Stability) -> dict[str, Any]:
    return {moved.column: moved for moved in found.moved}


@pytest.mark.parametrize("days", [4, DAYS, 40])
def test_a_level_that_goes_from_none_to_all_rows_is_named_with_its_range_and_the_stretch_after_it(days: int) -> None:
    found = stability(reference(days, contact=level(lambda place: place >= 0.5)), {}, day=4)
    moved = named(found)["contact"]
    assert set(named(found)) == {"contact"}
    assert (moved.detail, moved.unit) in {("mobile", "share of rows"), ("landline", "share of rows")}
    assert {round(moved.before, 2), round(moved.after, 2)} == {0.0, 1.0}
    assert (moved.low, moved.high) == (0.0, 1.0)
    assert (moved.begin, moved.end) == (2 * days, 4 * days)


def test_the_last_stable_stretch_begins_where_the_last_move_ends() -> None:
    assert stability(reference(contact=level(lambda place: place >= 0.5)), {}, day=4).stable_from == 2 * DAYS
    climbing = stability(reference(contact=level(lambda place: place)), {}, day=4)
    assert "contact" in named(climbing)
    assert climbing.stable_from is None


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("number", lambda random, place: random.normal(size=len(place)) + 1.5 * (place >= 0.4)),
        ("early", level(lambda place: place >= 0.25)),
        ("stretch", level(lambda place: (place > 0.3) & (place < 0.7))),
        ("missing", lambda random, place: np.where(place > 0.5, np.nan, random.normal(size=len(place)))),
    ],
)
def test_moves_of_other_kinds_are_named(name: str, made: Any) -> None:
    assert set(named(stability(reference(**{name: made}), {}, day=4))) == {name}


def test_a_move_that_took_back_is_compared_with_what_lies_around_it() -> None:
    (moved,) = moved_columns(reference(contact=level(lambda place: (place >= 0.25) & (place < 0.5))), {}, day=4)
    assert (moved.begin, moved.end) == (DAYS, 2 * DAYS)


def test_blocks_that_are_alike_are_seldom_said_to_have_moved() -> None:
    said = [bool(moved_columns(reference(12, 80, seed), {}, day=4)) for seed in range(40)]
    assert sum(said) <= 2


def test_a_small_move_and_a_short_reference_are_left_alone() -> None:
    assert not moved_columns(reference(contact=level(lambda place: 0.5 + 0.04 * (place > 0.5))), {}, day=4)
    assert not moved_columns(reference(1, contact=level(lambda place: place > 0.5)), {}, day=4)


def test_a_floor_of_the_user_silences_smaller_moves() -> None:
    profile = reference(contact=level(lambda place: 0.4 + 0.3 * (place >= 0.5)))
    assert [moved.column for moved in moved_columns(profile, {}, day=4)] == ["contact"]
    assert not moved_columns(profile, {"contact": 0.5}, day=4)
