"""What is called fair, and what is not, in the first sentence of the answer."""

from datetime import UTC, datetime
from typing import Any

import pytest

from reports.fairness import DisparityLine
from reports.wording.fairness import answer_of, first_sentence, how_sure

START, END = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)


def line(**changes: Any) -> DisparityLine:
    """A ratio whose interval lies inside its limit."""
    fields: dict[str, Any] = {
        "metric": "demographic_parity_ratio", "by": "sex", "definition": "", "positive": "refused", "assumed": False,
        "declared": True, "value": 0.95, "low": 0.88, "high": 1.0, "reason": None, "unit": "ratio", "n": 600,
        "limit": 0.8, "limit_word": "min", "verdict": "inside", "rate": "", "groups": (), "method": "Koopman's",
        "reference_line": 0.8, "possible_low": None, "possible_high": None, "unknown": 0, "windows": 2, "alarmed": 0,
        "alerts": (), "history": (),
    }  # fmt: skip
    return DisparityLine(**(fields | changes))


@pytest.mark.parametrize(
    ("one", "uncounted", "answer", "words"),
    [
        (line(), 0, "fair", "Fair by the declared limits"),
        (line(assumed=True), 0, "cannot say", "nobody declared that it is the favourable one"),
        (line(), 5, "cannot say", "5 windows of the period were recorded by an earlier release"),
        (line(assumed=True, verdict="beyond"), 0, "not fair", "(of `refused`, class assumed)"),
    ],
)
def test_fair_is_said_of_declared_classes_and_of_whole_periods_only(
    one: DisparityLine, uncounted: int, answer: str, words: str
) -> None:
    assert answer_of([one], uncounted) == answer
    assert words in first_sentence([one], START, END, 2, uncounted=uncounted)


def test_windows_of_an_earlier_release_are_not_called_absent() -> None:
    nothing = line(value=None, low=None, high=None, reason="none", verdict="not measured")
    said = first_sentence([nothing], START, END, 0, uncounted=1)
    assert "1 window of the period was recorded by an earlier release" in said
    assert "no window lies" not in said
    assert how_sure([nothing], (), 0.95, 30) == "How sure: nothing was measured, so there are no intervals."
