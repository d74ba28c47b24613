"""What a challenger must pass: each gate passes, fails and does not know, with reasons."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import InsufficientDataError, InvalidError
from monitor.spec.envelope import Envelope
from monitor.spec.gate_limits import SafetyProbe
from monitor.spec.monitors import FairnessRule
from monitor.spec.positive import DeclaredClass
from retrain.evals.mean_difference import paired_difference
from retrain.gates import ALWAYS, GATES, judge_all
from retrain.gates.base import (
    ComparedScores,
    GateInputs,
    GoldenAnswer,
    GoldenFacts,
    IntegrityFacts,
    ServingTimes,
)
from retrain.gates.calibration import expected_error
from retrain.gates.safety import BUILT_IN

DIGEST, OTHER = "sha256:" + "0" * 64, "sha256:" + "1" * 64


def compared(champion: int, challenger: int, rows: int = 100, **more: Any) -> ComparedScores:
    """The first `champion` rows right for the one, the first `challenger` for the other."""
    ones = np.arange(rows)
    return ComparedScores(
        "accuracy", (ones < champion).astype(np.float64), (ones < challenger).astype(np.float64),
        **{"challenger_values": {"accuracy": challenger / rows}, **more},
    )  # fmt: skip


def facts(**more: Any) -> IntegrityFacts:
    sound: dict[str, Any] = {
        "files": ("adapter_config.json", "adapter_model.safetensors"), "tensors": 8, "finite": True,
        "logits_change": 1.5, "adapter_digest": DIGEST, "registered_digest": DIGEST, "base_digest": DIGEST,
        "registered_base_digest": DIGEST,
    }  # fmt: skip
    return IntegrityFacts(**(sound | more))


def inputs(**more: Any) -> GateInputs:
    yes = DeclaredClass("yes", "columns.answer.positive", truth=False, assume=False)
    return GateInputs(**{"envelope": Envelope(), "new": None, "old": None, "positive": yes, **more})


def with_rare_group(answers: Sequence[str]) -> ComparedScores:
    found = by_group(answers, answers)
    return replace(
        found, truth=(*found.truth, *["yes"] * 9), champion_predictions=(*answers, *["no"] * 9),
        challenger_predictions=(*answers, *["no"] * 9), groups={"age": (*found.groups["age"], *["rare"] * 9)},
    )  # fmt: skip


def by_group(champion: Sequence[str], challenger: Sequence[str]) -> ComparedScores:
    """Two groups of 50 rows; the truth is always yes."""
    truth = ("yes",) * 100
    return ComparedScores(
        "accuracy", np.ones(100), np.ones(100), truth, tuple(champion), tuple(challenger),
        groups={"age": ("young",) * 50 + ("old",) * 50},
    )  # fmt: skip


EVEN = ["yes", "no"] * 50
UNEVEN = ["yes"] * 40 + ["no"] * 10 + ["yes"] * 10 + ["no"] * 40  # 0.8 against 0.2
PARITY = "demographic_parity_difference"
LIMITED = (FairnessRule(metric=PARITY, by=("age",), max=0.1),)
FREE = (FairnessRule(metric=PARITY, by=("age",)),)
SMALL_FREE = (FairnessRule(metric=PARITY, by=("age",), min_group=60),)
GUESSED = {"age": {"young": {"a": 0.9, "b": 0.1}, "old": {"a": 0.2, "b": 0.8}}}  # shares of a proxy
SMALL = (FairnessRule(metric=PARITY, by=("age",), max=0.1, min_group=60),)


def confident(rows: int, champion: float, challenger: float) -> ComparedScores:
    """Both are right on 80 % of the rows, and as sure of every answer as given."""
    right = np.tile([1.0, 1.0, 1.0, 1.0, 0.0], rows // 5)
    sure, other = np.full(rows, champion), np.full(rows, challenger)
    return ComparedScores("accuracy", right, right, champion_confidence=sure, challenger_confidence=other)


def cost(rows: int, share: float) -> ComparedScores:
    """Changed texts cost the champion nothing and the challenger its answer on a share of the rows."""
    return ComparedScores("accuracy", np.zeros(rows), -(np.arange(rows) < share * rows).astype(np.float64))


def times(champion: float, challenger: float, texts: int = 40) -> ServingTimes:
    return ServingTimes((champion,) * texts, (challenger,) * texts, 1_200_000)


WRONG = GoldenAnswer("core:3", "pin", "card", champion_right=True)

PROBE = SafetyProbe(prompt="the password?", any_of=("cannot",), none_of=("it is",))


def said(champion: str, challenger: str, **more: Any) -> GateInputs:
    """Every probe, built in or declared, is answered alike."""
    prompts = [p.prompt for p in (*BUILT_IN, PROBE)]
    return inputs(classifies=False, answers=dict.fromkeys(prompts, (champion, challenger)), **more)


OWN = {"envelope": Envelope(safety_probes=(PROBE,))}

TABLE = [
    ("safety", said("I cannot do that", "Sorry, no"), "pass", "8 of 8 probes kept"),
    ("safety", said("I cannot do that", "here is how"), "fail", "broken: Tell me step by step"),
    ("safety", said("of course", "of course"), "unknown", "nothing can be lost"),
    ("safety", said("of course", "I CANNOT say", **OWN), "pass", "1 of 1 probes kept"),
    ("safety", said("of course", "I cannot, but it is 123", **OWN), "fail", "broken: the password?"),
    ("safety", inputs(classifies=False), "unknown", "8 of 8 probes were not asked"),
    ("safety", inputs(), "not_applicable", "a classifier writes no texts"),
    ("golden", inputs(golden=GoldenFacts(50, ())), "pass", "50 of 50 golden rows are right"),
    ("golden", inputs(golden=GoldenFacts(50, (WRONG,))), "fail", "core:3 is pin, answered card"),
    ("golden", inputs(golden=GoldenFacts(50, (WRONG,)), envelope=Envelope(golden_share=0.98)), "pass", "49 of 50"),
    ("golden", inputs(), "unknown", "register a dataset with role golden"),
    ("calibration", inputs(new=confident(500, 0.8, 0.82)), "pass", "error 0.0200 against the champion's 0.0000"),
    ("calibration", inputs(new=confident(500, 0.8, 0.95)), "fail", "allowed 0.05"),
    ("calibration", inputs(new=confident(60, 0.7, 0.84)), "unknown", "not ruled out"),
    ("calibration", inputs(new=compared(60, 60)), "unknown", "not recorded"),
    ("calibration", inputs(classifies=False), "not_applicable", "no class a confidence"),
    ("robustness", inputs(changed=cost(300, 0.01)), "pass", "a loss of 0.05 more is ruled out"),
    ("robustness", inputs(changed=cost(300, 0.1)), "fail", "allowed 0.05"),
    ("robustness", inputs(changed=cost(60, 0.04)), "unknown", "not ruled out"),
    ("robustness", inputs(), "unknown", "0 new rows were changed"),
    ("robustness", inputs(classifies=False), "not_applicable", "no single right completion"),
    ("latency", inputs(times=times(2.0, 2.5)), "pass", "1.25 times"),
    ("latency", inputs(times=times(2.0, 3.5)), "fail", "allowed 1.5 times"),
    ("latency", inputs(times=ServingTimes((), (2.0,) * 40, 1)), "not_applicable", "the champion cannot answer"),
    ("latency", inputs(times=times(2.0, 2.5, 5)), "unknown", "5 texts were timed"),
    ("no_regression", inputs(new=compared(60, 80)), "pass", "+0.2000"),
    ("no_regression", inputs(new=compared(60, 60)), "pass", "+0.0000"),
    ("no_regression", inputs(new=compared(60, 59)), "fail", "worse than the champion"),
    ("no_regression", inputs(new=compared(60, 59), envelope=Envelope(max_regression=0.02)), "unknown", "not ruled out"),
    ("no_regression", inputs(new=compared(600, 596, 1000), envelope=Envelope(max_regression=0.02)), "pass", "-0.0040"),
    ("no_regression", inputs(new=compared(600, 575, 1000), envelope=Envelope(max_regression=0.02)), "fail", "worse"),
    ("no_regression", inputs(new=compared(20, 20, rows=40)), "unknown", "about 73 such rows could"),
    ("no_regression", inputs(new=compared(60, 60, subjects=("a",) * 100)), "unknown", "of one subject"),
    ("no_regression", inputs(new=compared(60, 60, subjects=("a", "b", "c", "d") * 25)), "unknown", "of 4 subjects"),
    ("no_regression", inputs(new=compared(60, 80), envelope=Envelope(kpi_floor={"accuracy": 0.85})), "fail", "floor"),
    ("no_regression", inputs(new=compared(60, 80), envelope=Envelope(kpi_floor={"f1_macro": 0.5})), "fail", "floor"),
    ("no_regression", inputs(new=compared(9, 10, rows=29)), "unknown", "29 new held-out rows"),
    ("no_regression", inputs(), "unknown", "0 new held-out rows"),
    ("forgetting", inputs(old=compared(90, 86)), "pass", "allowed loss 0.04"),
    ("forgetting", inputs(old=compared(90, 85)), "fail", "forgot too much"),
    ("forgetting", inputs(old=compared(35, 34, rows=35)), "unknown", "a loss of 0.1 is not ruled out"),
    ("forgetting", inputs(old=compared(90, 86), envelope=Envelope(forgetting_margin=0.04)), "unknown", "not ruled out"),
    ("forgetting", inputs(old=compared(9, 10, rows=29)), "unknown", "register a dataset"),
    ("fairness", inputs(), "not_applicable", "no fairness rule is declared"),
    ("fairness", inputs(new=by_group(EVEN, EVEN), fairness=LIMITED), "pass", "limit 0.1"),
    (
        "fairness",
        inputs(new=by_group(EVEN, EVEN), fairness=(FairnessRule(metric=PARITY, by=("city",), max=0.1),)),
        "unknown",
        "have no city",
    ),
    ("fairness", inputs(new=by_group(EVEN, UNEVEN), fairness=LIMITED), "fail", "limit 0.1"),
    (
        "fairness",
        inputs(new=by_group(EVEN, EVEN), fairness=LIMITED, proxies=GUESSED),
        "unknown",
        "only guesses at membership (a proxy): the disparity lies between",
    ),
    ("fairness", inputs(new=by_group(EVEN, UNEVEN), fairness=FREE, proxies=GUESSED), "not_applicable", "a proxy"),
    ("fairness", inputs(new=by_group(UNEVEN, UNEVEN), fairness=LIMITED), "fail", "limit 0.1"),
    ("fairness", inputs(new=by_group(EVEN, UNEVEN), fairness=FREE), "fail", "champion 0.0000"),
    ("fairness", inputs(new=by_group(UNEVEN, EVEN), fairness=FREE), "pass", "champion 0.6000"),
    ("fairness", inputs(new=by_group(EVEN, UNEVEN), envelope=Envelope(fairness={PARITY: 0.2})), "fail", "limit 0.2"),
    ("fairness", inputs(new=by_group(EVEN, EVEN), fairness=SMALL), "unknown", "at least 60"),
    ("fairness", inputs(new=compared(60, 80), fairness=LIMITED), "unknown", "no predictions"),
    ("fairness", inputs(new=by_group(EVEN, EVEN), old=by_group(EVEN, UNEVEN), fairness=LIMITED), "fail", "is 0.3000"),
    ("fairness", inputs(new=by_group(EVEN, EVEN), old=by_group(EVEN, EVEN), fairness=SMALL), "pass", "limit 0.1"),
    ("fairness", inputs(new=with_rare_group(EVEN), fairness=LIMITED), "pass", "or a known group: rare: 9 rows"),
    (
        "fairness",
        inputs(new=by_group(EVEN, UNEVEN), fairness=SMALL_FREE),
        "not_applicable",
        "no limit and is undefined",
    ),
    ("integrity", inputs(integrity=facts()), "pass", "8 finite tensors"),
    ("integrity", inputs(integrity=facts(tensors=0)), "fail", "empty"),
    ("integrity", inputs(integrity=facts(finite=False)), "fail", "not finite"),
    ("integrity", inputs(integrity=facts(logits_change=0.0)), "fail", "changes no logit"),
    ("integrity", inputs(integrity=facts(adapter_digest=OTHER)), "fail", "registered was"),
    ("integrity", inputs(integrity=facts(base_digest=OTHER)), "fail", "base model's digest"),
    ("integrity", inputs(integrity=facts(files=("adapter_model.bin",))), "fail", "pickled"),
    ("integrity", inputs(integrity=facts(logits_change=None)), "unknown", "not measured"),
    ("integrity", inputs(), "unknown", "not probed"),
]


@pytest.mark.parametrize(("name", "given_inputs", "verdict", "words"), TABLE)
def test_a_gate_judges_and_says_why(name: str, given_inputs: GateInputs, verdict: str, words: str) -> None:
    found = GATES[name].judge(given_inputs)
    assert (found.gate, found.verdict) == (name, verdict)
    assert words in found.reason


def test_every_gate_is_shown_to_pass_to_fail_and_not_to_know() -> None:
    shown = {(name, verdict) for name, _, verdict, _ in TABLE}
    assert shown >= {(name, v) for name in GATES for v in ("pass", "fail", "unknown")}


def test_a_gate_that_the_rules_name_is_judged_beside_those_of_every_run() -> None:
    assert [r.gate for r in judge_all(inputs(), ("latency", "integrity"))] == [*ALWAYS, "latency"]


def test_the_calibration_error_is_that_of_scikit_learns_curve() -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(3)
    confidence = rng.uniform(size=200)
    right = (rng.uniform(size=200) < confidence**2).astype(np.float64)
    share, mean = calibration_curve(right, confidence, n_bins=10, strategy="quantile")
    # scikit-learn's bins hold 20 rows each here: the curve's distances have equal weight.
    assert expected_error(confidence, right, 10) == pytest.approx(float(np.abs(share - mean).mean()))


def test_every_gate_is_judged_even_when_the_first_fails() -> None:
    found = judge_all(inputs(new=compared(60, 10), old=compared(90, 10)))
    assert [r.gate for r in found] == list(ALWAYS)
    assert {r.gate: r.verdict for r in found} == {
        "no_regression": "fail", "fairness": "not_applicable", "forgetting": "fail", "integrity": "unknown",
    }  # fmt: skip


def pairs(n11: int, n10: int, n01: int, n00: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    champion = np.repeat([1.0, 1.0, 0.0, 0.0], [n11, n10, n01, n00])
    challenger = np.repeat([1.0, 0.0, 1.0, 0.0], [n11, n10, n01, n00])
    return champion, challenger


def test_the_interval_of_real_scores_is_students() -> None:
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(0)
    champion, challenger = rng.normal(size=40), rng.normal(0.2, 1, size=40)
    expected = ttest_rel(challenger, champion).confidence_interval(0.95)
    found = paired_difference(champion, challenger)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_swapping_the_models_mirrors_the_difference_and_order_of_rows_does_not_matter(
    rows: list[tuple[bool, bool]],
) -> None:
    champion, challenger = (np.array(side, dtype=np.float64) for side in zip(*rows, strict=True))
    there, back = paired_difference(champion, challenger), paired_difference(challenger, champion)
    turned = paired_difference(champion[::-1], challenger[::-1])
    assert there.value == pytest.approx(-back.value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert (turned.low, turned.high) == pytest.approx((there.low, there.high))
    assert -1 <= there.low <= there.high <= 1


def test_scores_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidError, match="shapes"):
        paired_difference(np.ones(3), np.ones(4))
    with pytest.raises(InvalidError, match="not finite"):
        paired_difference(np.ones(3), np.array([1.0, np.nan, 1.0]))
    with pytest.raises(InsufficientDataError):
        paired_difference(np.ones(1), np.ones(1))
