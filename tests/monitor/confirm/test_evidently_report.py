"""The Evidently report that confirms an alarm."""

import re

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from core.errors import InsufficientDataError
from monitor.confirm.evidently_report import MAX_ROWS_PER_SIDE, Confirmation, confirm_with_evidently
from monitor.drift.rows import ROW_METHODS
from monitor.profile.reference_profile import ColumnKind

COLUMNS: dict[str, ColumnKind] = {
    "x": "number",
    "steady": "number",
    "c": "category",
    "text": "text",
    "empty": "number",
}
WORDS = [f"word{i}" for i in range(40)]
HOSTILE = "</script><script>alert(1)</script>"


def rows(count: int, seed: int, *, moved: bool) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    words = WORDS[20:] if moved else WORDS[:20]
    return pl.DataFrame(
        {
            "x": rng.normal(2.0 if moved else 0.0, 1.0, count),
            "steady": rng.normal(size=count),
            "c": rng.choice(["a", "b"] if not moved else ["b", HOSTILE], count),
            "text": [" ".join(rng.choice(words, 6)) for _ in range(count)],
            "empty": pl.Series([None] * count, dtype=pl.Float64),
        }
    )


@pytest.fixture(scope="module")
def confirmation() -> Confirmation:
    return confirm_with_evidently(rows(1500, 0, moved=False), rows(1200, 1, moved=True), COLUMNS)


def test_the_columns_that_moved_are_named_and_the_steady_one_is_not(confirmation: Confirmation) -> None:
    assert set(confirmation.drifted_columns) == {"x", "c", "text"}
    assert confirmation.share == 0.75
    assert [found.column for found in confirmation.columns] == ["x", "steady", "c", "text"]
    assert confirmation.skipped == (("empty", "the reference has no value"),)


def test_it_carries_the_statistics_that_need_raw_rows(confirmation: Confirmation) -> None:
    found = {s.method: s.value for s in confirmation.statistics}
    assert set(found) == set(ROW_METHODS)
    assert found["domain_classifier"] is not None
    assert found["domain_classifier"] > 0.9
    assert {s.n_window for s in confirmation.statistics} == {1200}


def test_the_report_opens_without_a_network(confirmation: Confirmation) -> None:
    html = confirmation.html.decode()
    assert not re.findall(r"<script[^>]*\ssrc=", html)
    assert not re.findall(r"<link[^>]*href=", html)
    assert not re.findall(r"@import\s+(?:url|\S*//)|url\((?!data:|['\"]?data:|#)[^)]*//", html)
    assert "window.drawDashboard" in html


def test_a_value_that_looks_like_code_stays_a_value(confirmation: Confirmation) -> None:
    assert b"<script>alert(1)" not in confirmation.html
    assert "‹script>alert(1)" in confirmation.html.decode() or rb"\u2039script>alert(1)" in confirmation.html


def test_large_sides_are_sampled_and_the_result_says_so() -> None:
    big = pl.DataFrame({"x": np.arange(MAX_ROWS_PER_SIDE + 1000.0)})
    result = confirm_with_evidently(big, big, {"x": "number"})
    assert (result.rows_reference, result.rows_window) == (MAX_ROWS_PER_SIDE, MAX_ROWS_PER_SIDE)
    assert "sampled with seed 0" in result.note
    assert result.drifted_columns == ()


def test_without_a_value_on_both_sides_there_is_nothing_to_compare() -> None:
    with pytest.raises(InsufficientDataError, match="nothing to compare"):
        confirm_with_evidently(rows(10, 0, moved=False), rows(10, 1, moved=True), {"empty": "number"})


# --- methods and thresholds -------------------------------------------------------------------------------------------

PLAIN: dict[str, ColumnKind] = {"c": "category", "x": "number"}


def sides(reference: int, new: int, *, window: int = 800) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of five categories and a number that does not move; `new` rows of the window have another category."""
    levels = [f"level {i % 5}" for i in range(max(reference, window))]
    numbers = [float(i % 7) for i in range(max(reference, window))]
    changed = ["new"] * new + levels[new:window]
    return (
        pl.DataFrame({"c": levels[:reference], "x": numbers[:reference]}),
        pl.DataFrame({"c": changed, "x": numbers[:window]}),
    )


@pytest.mark.parametrize("reference", [800, 1000, 1001])
@pytest.mark.parametrize(("new", "drifted"), [(1, ()), (160, ("c",))])
def test_a_verdict_does_not_depend_on_the_rows_of_the_reference(
    reference: int, new: int, drifted: tuple[str, ...]
) -> None:
    assert confirm_with_evidently(*sides(reference, new), PLAIN).drifted_columns == drifted


def test_the_methods_are_the_stated_ones_and_their_values_those_of_scipy() -> None:
    before, after = sides(900, 160)
    after = after.with_columns(pl.col("x") + 0.19)
    result = confirm_with_evidently(before, after, PLAIN)
    levels = sorted({*before["c"], *after["c"]})
    p, q = (np.array([(side["c"] == level).sum() / side.height for level in levels]) for side in (before, after))
    distance = wasserstein_distance(before["x"], after["x"]) / float(np.std(before["x"].to_numpy()))
    assert [(f.column, f.method, f.threshold, f.drifted) for f in result.columns] == [
        ("x", "wasserstein", 0.1, False), ("c", "jensenshannon", 0.1, True),
    ]  # fmt: skip
    assert [f.value for f in result.columns] == pytest.approx([distance, float(jensenshannon(p, q))])
    methods = {m["config"]["column"]: m["config"]["method"] for m in result.json["metrics"] if "column" in m["config"]}
    assert methods == {"x": "wasserstein", "c": "jensenshannon"}


def test_texts_are_judged_by_one_method_whatever_the_rows_of_the_reference() -> None:
    for reference in (800, 1001):
        same = confirm_with_evidently(rows(reference, 0, moved=False), rows(800, 1, moved=False), {"text": "text"})
        other = confirm_with_evidently(rows(reference, 0, moved=False), rows(800, 1, moved=True), {"text": "text"})
        assert [(f.method, f.threshold, f.drifted) for f in (*same.columns, *other.columns)] == [
            ("abs_text_content_drift", 0.55, False), ("abs_text_content_drift", 0.55, True),
        ]  # fmt: skip


@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e-9])
def test_a_verdict_does_not_depend_on_the_unit_of_a_number(unit: float) -> None:
    random = np.random.default_rng(3)
    before, after = random.normal(5.0, 1.0, 900), random.normal(5.3, 1.0, 900)
    sides = [pl.DataFrame({"cost": side * unit, "still": before * unit, "one": unit}) for side in (before, after)]
    kinds: dict[str, ColumnKind] = {"cost": "number", "still": "number", "one": "number"}
    result = confirm_with_evidently(sides[0], sides[1], kinds)
    assert result.drifted_columns == ("cost",)
    expected = wasserstein_distance(before, after) / float(before.std())
    assert {f.column: f.value for f in result.columns}["cost"] == pytest.approx(expected)


@pytest.mark.parametrize("texts", [["ok"], ["the", "a"], ["1 2"]])
def test_texts_without_words_to_compare_are_left_out_and_the_others_compared(texts: list[str]) -> None:
    sides = [pl.DataFrame({"said": texts * (120 // len(texts)), "x": np.arange(120.0) + more}) for more in (0.0, 60.0)]
    result = confirm_with_evidently(sides[0], sides[1], {"said": "text", "x": "number"})
    assert (result.drifted_columns, result.share) == (("x",), 1.0)
    assert result.skipped == (("said", "its texts have too few different words to be told apart by"),)
    with pytest.raises(InsufficientDataError, match="too few different words to be told apart by; look at the words"):
        confirm_with_evidently(sides[0], sides[1], {"said": "text"})
