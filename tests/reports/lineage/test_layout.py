"""Nodes of a lineage stand in lanes, none over another, and what belongs to one run stands together."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from reports.lineage.layout import HEIGHT, LANES, TOP, WIDTH, Box, laid_out, path_of

boxes = st.lists(
    st.tuples(st.integers(0, len(LANES) - 1), st.sampled_from(["", "a", "b", "c"])), max_size=30
).map(lambda found: [Box(f"n{i}", lane, block) for i, (lane, block) in enumerate(found)])  # fmt: skip


@given(boxes, st.data())
def test_no_node_stands_on_another_and_all_are_inside_the_picture(found: list[Box], data: st.DataObject) -> None:
    keys = [box.key for box in found] or ["none"]
    edges = data.draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(keys)), max_size=40))
    layout = laid_out(found, edges)
    assert layout.places.keys() == {box.key for box in found}
    for one, other in itertools.combinations(layout.places.values(), 2):
        assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT
    for place in layout.places.values():
        assert TOP <= place.y <= layout.height - HEIGHT
        assert 0 <= place.x <= layout.width - WIDTH


def test_what_belongs_to_one_run_stands_beside_it() -> None:
    found = [Box("r2", 2, "r2"), Box("t2", 1, "r2"), Box("e2", 1, "r2"), Box("v2", 3, "r2"), Box("r1", 2, "r1"),
             Box("t1", 1, "r1"), Box("v1", 3, "r1"), Box("base", 0), Box("lonely", 4)]  # fmt: skip
    layout = laid_out(found, [("base", "r1"), ("base", "r2"), ("t2", "r2"), ("v1", "r2")])
    places = layout.places
    assert places["r2"].y == places["v2"].y < places["r1"].y == places["v1"].y == places["t1"].y
    assert places["t2"].y < places["r2"].y < places["e2"].y
    assert places["r2"].y < places["base"].y < places["r1"].y
    assert path_of(places["t2"], places["r2"]).startswith(f"M{places['t2'].x + WIDTH:g}")
    assert path_of(places["v1"], places["r2"]).count("C") == 1
