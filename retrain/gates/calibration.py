"""The challenger's confidence means as much as the champion's: its calibration error is not larger by the margin."""

from typing import Final

import numpy as np

from core.arrays import Floats
from retrain.gates.base import MIN_ROWS, ComparedScores, Gate, GateInputs, GateResult

NAME: Final = "calibration"
BINS: Final = 10
BIN_ROWS: Final = 20  # fewer rows in a bin would make most of the error chance
DRAWS: Final = 400


def expected_error(confidence: Floats, right: Floats, bins: int) -> float:
    """Expected calibration error over bins of equally many rows.

    Args:
        confidence: probability of the answer given, 0..1, shape (n,).
        right: 1 where the answer was right, else 0, shape (n,).
        bins: at least 1.

    Returns:
        The mean distance between confidence and share of right answers of a bin, weighted by rows, 0..1. Chance alone
        makes it positive.

    Source: Naeini, Cooper and Hauskrecht (2015), AAAI 29; bins of equal mass after Nguyen and O'Connor (2015).
    """
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(np.arange(len(order)), bins)
    gaps = [len(p) * abs(float(confidence[order[p]].mean() - right[order[p]].mean())) for p in parts if len(p)]
    return sum(gaps) / len(order)


def judge(inputs: GateInputs) -> GateResult:
    new, margin = inputs.new, inputs.envelope.calibration_margin
    if not inputs.classifies:
        return GateResult(NAME, "not_applicable", "a model that writes texts gives no class a confidence", {})
    if new is None or new.rows < MIN_ROWS:
        rows = 0 if new is None else new.rows
        words = f"{rows} new held-out rows, at least {MIN_ROWS} needed; wait for outcomes"
        return GateResult(NAME, "unknown", words, {"rows": rows})
    if new.champion_confidence is None or new.challenger_confidence is None:
        return GateResult(NAME, "unknown", "the confidences were not recorded", {"rows": new.rows})
    if not (np.isfinite(new.champion_confidence).all() and np.isfinite(new.challenger_confidence).all()):
        return GateResult(NAME, "fail", "a confidence is not finite", {"rows": new.rows})
    bins = max(1, min(BINS, new.rows // BIN_ROWS))
    before = expected_error(new.champion_confidence, new.champion, bins)
    after = expected_error(new.challenger_confidence, new.challenger, bins)
    low, high = _interval(new, bins)
    evidence = {
        "metric": "expected calibration error", "rows": new.rows, "bins": bins, "champion": before, "challenger": after,
        "value": after - before, "low": low, "high": high, "margin": margin,
    }  # fmt: skip
    words = (
        f"calibration error {after:.4f} against the champion's {before:.4f} on {new.rows} new rows in {bins} bins "
        f"(difference {after - before:+.4f}, 95% interval {low:+.4f} to {high:+.4f})"
    )
    if after - before > margin:
        return GateResult(NAME, "fail", f"{words}; allowed {margin:g}", evidence)
    if high >= margin:
        return GateResult(NAME, "unknown", f"{words}: a rise of {margin:g} is not ruled out; wait for rows", evidence)
    return GateResult(NAME, "pass", f"{words}; a rise of {margin:g} is ruled out, up to {high:.4f} is not", evidence)


def _interval(rows: ComparedScores, bins: int) -> tuple[float, float]:
    """95 % percentile interval of the difference; persons are drawn where they are known, else rows."""
    assert rows.champion_confidence is not None
    assert rows.challenger_confidence is not None
    names: dict[object, int] = {}
    persons = rows.subjects or (None,) * rows.rows
    codes = np.array([names.setdefault((i,) if s is None else s, len(names)) for i, s in enumerate(persons)])
    members = [np.flatnonzero(codes == code) for code in range(len(names))] if len(names) < rows.rows else None
    generator = np.random.default_rng(0)
    found = []
    for _ in range(DRAWS):
        drawn = generator.integers(0, len(names), size=len(names))
        at = drawn if members is None else np.concatenate([members[i] for i in drawn])
        after = expected_error(rows.challenger_confidence[at], rows.challenger[at], bins)
        found.append(after - expected_error(rows.champion_confidence[at], rows.champion[at], bins))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


GATE = Gate(NAME, judge)
