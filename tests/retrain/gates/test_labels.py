"""Gates that compare answers with outcomes are unknown where champion and outcomes name classes differently."""

from typing import Any

import numpy as np
import pytest

from monitor.spec.envelope import Envelope
from retrain.gates import judge_all
from retrain.gates.base import ComparedScores, GateInputs


def held_out(truth: tuple[str, ...], known: tuple[str, ...]) -> ComparedScores:
    """The champion is right where it can be; the challenger everywhere."""
    right = np.array([label in known for label in truth], dtype=np.float64)
    answers = tuple(label if label in known else known[0] for label in truth)
    return ComparedScores(
        "accuracy", right, np.ones(len(truth)), truth, answers, truth, champion_labels=known,
        challenger_values={"accuracy": 1.0},
    )  # fmt: skip


def verdicts(new: ComparedScores, **more: Any) -> dict[str, tuple[str, str]]:
    inputs = GateInputs(**{"envelope": Envelope(), "new": new, "old": new, **more})
    return {result.gate: (result.verdict, result.reason) for result in judge_all(inputs)}


@pytest.mark.parametrize(
    ("truth", "known"),
    [
        (("true", "false"), ("NEGATIVE", "POSITIVE")),
        (("yes", "no"), ("LABEL_0", "LABEL_1")),
        (("0", "1"), ("false", "true")),
        (("negative", "positive"), ("NEGATIVE", "POSITIVE")),
    ],
)
def test_without_a_shared_label_the_comparing_gates_are_unknown_with_both_sets(
    truth: tuple[str, ...], known: tuple[str, ...]
) -> None:
    found = verdicts(held_out(truth * 30, known))
    for gate in ("no_regression", "fairness", "forgetting"):
        verdict, reason = found[gate]
        assert verdict == "unknown"
        assert f"the outcomes are {', '.join(sorted(truth))}; the champion answers {', '.join(known)}" in reason


@pytest.mark.parametrize(
    ("sent", "known"), [("lost card", "lost_card"), ("Refund", "refund"), ("top-up", "Top up"), ("a  b", "a b")]
)
def test_a_label_in_another_spelling_beside_shared_ones_is_unknown(sent: str, known: str) -> None:
    verdict, reason = verdicts(held_out(("pin", sent) * 30, ("pin", known)))["no_regression"]
    assert verdict == "unknown"
    assert f"({sent} is {known})" in reason


@pytest.mark.parametrize(
    ("truth", "known"),
    [
        (("card", "pin"), ("card", "money")),  # a new class beside a known one
        (("m", "M"), ("m", "M", "l")),  # two classes that the champion keeps apart
        (("card",), ("card", "Card")),
    ],
)
def test_new_classes_beside_shared_ones_are_compared(truth: tuple[str, ...], known: tuple[str, ...]) -> None:
    found = verdicts(held_out(truth * 80, known))  # rows enough to rule a loss out
    assert [found[gate][0] for gate in ("no_regression", "forgetting")] == ["pass", "pass"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("NEGATIVE", "POSITIVE"), ("false", "true")),
        (("card", "money", "pin"), ("0", "1", "2")),
        (("card", "money", "pin"), ("card", "money", "LABEL_0", "LABEL_1")),  # renamed in the midst of the new rows
        (("pos", "neg"), ("positive", "negative")),
    ],
)
def test_outcomes_that_were_renamed_after_the_champion_are_unknown(
    before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    verdict, reason = verdicts(held_out(after * 80, before), old=held_out(before * 80, before))["no_regression"]
    assert verdict == "unknown"
    assert "are written in another way than what the champion answers" in reason


def test_new_rows_of_new_classes_alone_are_compared_where_the_old_rows_share_labels() -> None:
    known = ("card", "money")
    found = verdicts(held_out(("pin",) * 40, known), old=held_out(known * 20, known))
    assert found["no_regression"][0] == "pass"
