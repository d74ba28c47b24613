"""Written answers are scored as the KPIs score them, row by row."""

import polars as pl
import pytest
from sacrebleu.metrics.chrf import CHRF

from monitor.kpi import KPIS
from retrain.evals.written import columns, compared, scores

RIGHT = ["we will look at your card", "caf\u00e9", "", "yes", "Bring  it"]
WRITTEN = ["we will look at your device", "cafe\u0301", "anything", "", "bring it"]


def test_scores_of_rows_are_those_of_the_kpis_in_composed_form() -> None:
    found = scores(WRITTEN, RIGHT)
    assert found["exact_match"].to_list() == [0, 1, 0, 0, 1]
    chrf = found["chrf_mean"].to_list()
    assert chrf[1] == pytest.approx(1)  # equal to the eye: composed and decomposed
    assert chrf[2] is None  # nothing that an answer could be compared with
    assert chrf[0] == pytest.approx(CHRF().sentence_score(WRITTEN[0], [RIGHT[0]]).score / 100)
    frame = pl.DataFrame({"prediction": WRITTEN, "outcome": RIGHT})
    for name, unit in (("exact_match", 1), ("chrf_mean", 100)):
        value = KPIS[name].compute(frame).value
        assert value is not None
        assert found[name].mean() * unit == pytest.approx(value)  # type: ignore[operator]  # of numbers


def test_both_models_are_compared_on_the_same_rows_of_each_set() -> None:
    rows = pl.DataFrame({"rows": ["new"] * 4 + ["old"], "completion": RIGHT})
    scored = pl.DataFrame(columns({"champion": WRITTEN, "challenger": RIGHT}, RIGHT))
    evaluations, differences = compared({"champion": WRITTEN, "challenger": RIGHT}, rows, scored, confidence=0.95)
    named = {(e["model"], e["rows"], e["name"]): e for e in evaluations}
    assert named["challenger", "new", "exact_match"]["value"] == 1
    assert named["challenger", "new", "chrf_mean"]["value"] == pytest.approx(100)
    assert named["champion", "new", "exact_match"]["value"] == 0.25
    by = {(d["rows"], d["name"]): d for d in differences}
    assert by["new", "exact_match"]["value"] == 0.75
    assert by["new", "chrf_mean"]["n"] == 3
    assert by["new", "chrf_mean"]["low"] <= by["new", "chrf_mean"]["value"] <= by["new", "chrf_mean"]["high"]
    assert by["old", "exact_match"]["value"] is None
    assert "1 rows" in by["old", "exact_match"]["reason"]
