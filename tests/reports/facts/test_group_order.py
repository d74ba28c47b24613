"""The order in which groups are told."""

import pytest

from monitor.fairness.grouping import band_names
from reports.facts.group_order import places_of

EDGES = (9.0, 25.0, 40.0, 100.0)


@pytest.mark.parametrize(
    ("levels", "edges"),
    [
        (band_names(EDGES), EDGES),  # by the alphabet, `100 and over` comes first and `under 9` last
        (("Less than 25", "25 - 45", "Greater than 45"), None),
        (("<18", "18-24", "25-34", "65+"), None),
        (("5-9", "10-14", "15-19"), None),
        (("A", "B2", "C1"), None),
        (("1", "2", "10"), None),
    ],
)
def test_groups_are_told_in_the_order_in_which_people_read_them(
    levels: tuple[str, ...], edges: tuple[float, ...] | None
) -> None:
    places = places_of({*levels, "(missing)"}, edges)
    assert sorted(places, key=places.__getitem__) == [*levels, "(missing)"]
