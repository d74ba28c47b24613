"""Answers in another vocabulary than the outcomes are no wrong answers; wrong answers are."""

import polars as pl
import pytest

from monitor.kpi.vocabularies import two_vocabularies


@pytest.mark.parametrize(
    ("predictions", "outcomes", "differ"),
    [
        (["NEGATIVE", "POSITIVE"], ["false", "true"], True),
        (["NEGATIVE", "POSITIVE"], ["true", "true"], True),
        (["NEGATIVE", "POSITIVE"], ["negative", "positive"], True),
        (["NEGATIVE", "POSITIVE"], ["neg", "pos"], True),
        (["NEGATIVE", "POSITIVE"], ["0", "1"], True),
        (["LABEL_0", "LABEL_1"], ["card", "phone"], True),
        (["card arrival", "lost card"], ["card_arrival", "lost-card"], True),
        (["card", "phone"], ["refund", "pin"], False),  # new classes: the model is wrong
        (["true", "true"], ["false", "false"], False),
        (["0", "0"], ["1", "2"], False),
        (["yes", "yes"], ["no", "no"], False),
        (["card", "phone"], ["Phone", "card"], False),
        ([None, None], ["card", "phone"], False),
    ],
)
def test_two_vocabularies(predictions: list[str], outcomes: list[str], differ: bool) -> None:
    found = two_vocabularies(
        pl.DataFrame(
            {"prediction": predictions, "outcome": outcomes}, schema=dict.fromkeys(("prediction", "outcome"), pl.String)
        )
    )
    assert (found is not None) is differ
    if found is not None:
        assert all(label in found for label in (*predictions, *outcomes))
