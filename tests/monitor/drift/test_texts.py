"""Statistics of text columns: hand-worked, level without drift, and a planted change."""

import numpy as np
import polars as pl
import pytest

from core.errors import InsufficientDataError
from monitor.drift import TEXT_METHODS, drift_scores
from monitor.drift.texts import Mean
from monitor.profile.block import profile_block
from monitor.profile.fit_reference import fit_reference

KNOWN = [f"word{i}" for i in range(60)]


def texts(count: int, seed: int, words: list[str]) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame({"said": [" ".join(random.choice(words, 5)) for _ in range(count)]})


@pytest.mark.parametrize("name", TEXT_METHODS)
def test_a_statistic_is_the_mean_of_what_was_measured_and_undefined_without_a_text(name: str) -> None:
    assert TEXT_METHODS[name].compute(Mean(4, 1.0)) == 0.25
    with pytest.raises(InsufficientDataError, match="no text"):
        TEXT_METHODS[name].compute(Mean(0, 0.0))


def test_without_drift_they_are_near_the_references_own_value_and_new_words_show() -> None:
    baseline = fit_reference(texts(2000, 1, KNOWN), {"said": "text"}, blocks=20)

    def scored(frame: pl.DataFrame) -> dict[str, tuple[float, float]]:
        found = [s for s in drift_scores(baseline, profile_block(frame, baseline)) if s.column == "said"]
        assert {s.method for s in found} == set(TEXT_METHODS)
        return {s.method: (s.value, s.expected) for s in found if s.value is not None and s.expected is not None}

    for value, expected in scored(texts(500, 2, KNOWN)).values():
        assert value == pytest.approx(expected, abs=0.02)
    half = pl.concat([texts(250, 3, KNOWN), texts(250, 4, [f"fresh{chr(97 + i % 26)}" for i in range(60)])])
    moved = scored(half)
    assert moved["oov"][0] == pytest.approx(0.5)
    assert moved["novelty"][0] > moved["novelty"][1] + 0.1
    empty = drift_scores(
        baseline, profile_block(pl.DataFrame({"said": [None, ""]}, schema={"said": pl.String}), baseline)
    )
    assert all(s.value is None and "no text" in (s.reason or "") for s in empty if s.column == "said")
