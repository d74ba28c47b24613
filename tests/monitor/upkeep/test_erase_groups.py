"""Names of groups lose the levels that only erased rows had, and nothing else."""

from monitor.spec.parse import parse_spec
from monitor.upkeep.erase_groups import levels_in, without_levels
from tests.monitor import traffic


def test_a_name_holds_levels_of_its_columns_and_bands_are_no_levels() -> None:
    document = traffic.document()
    document["columns"]["years"] = {"role": "protected", "type": "number", "edges": [18, 65]}
    spec = parse_spec(document)
    names = ["north", "region=north & age_band=R&B & more", "18 to under 65", "(missing)", "all rows"]
    assert levels_in(names, spec) == {"north", "region=north & age_band=R&B & more"}
    assert levels_in(["region=south & years=65 and over"], spec) == {"south"}


def test_only_the_gone_level_of_an_intersection_is_taken_out() -> None:
    assert without_levels("region=north & age_band=30+", {"north"}) == "region=(erased) & age_band=30+"
    assert without_levels("north", {"north"}) == "(erased)"
    assert without_levels("north", {"30+"}) == "north"
