"""One trial: a reference, a window, the verdict of the rule and of the others on the same rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from bench.detect.traffic import BLOCK, Traffic
from monitor.baseline import Baseline, fit_baseline
from monitor.blocks import Scale, plan_blocks
from monitor.decide import Decision, decide
from monitor.drift import drift_scores
from monitor.house_rules import row_tests
from monitor.profile import BlockProfile, merge_all, profile
from monitor.quality import Volume, volume

QUARTER_S = 21_600
MONDAY = 4 * 19_000
PEERS = ("evidently_any", "evidently_half", "ks_bonferroni", "three_sigma", "psi_0.1")
Shift = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class Outcome:
    verdict: str
    unjudged: int = 0
    peers: Mapping[str, bool] = field(default_factory=dict)
    named: frozenset[str] = frozenset()

    @property
    def alarmed(self) -> bool:
        return self.verdict == "drift"


def fitted(traffic: Traffic, frame: pl.DataFrame) -> Baseline:
    return fit_baseline(frame.drop(BLOCK), traffic.columns, blocks=MONDAY + frame[BLOCK].to_numpy(), parts=4)


def judged(baseline: Baseline, window: pl.DataFrame, first: int, days: int, alpha: float, seed: int) -> Decision:
    """By the default path: the plan of the scale, the volume guard, default floors."""
    blocks = profile(window, baseline, window[BLOCK].to_numpy() - first)
    scale = Scale(4 * days, "day", QUARTER_S)
    return decide(
        baseline, blocks, alpha=alpha, plan=plan_blocks(baseline, scale, alpha), first=MONDAY + first, seed=seed,
        redraws=299, volume=_volume(baseline, [b.rows for b in blocks], MONDAY + first), volume_alpha=alpha / 16,
    )  # fmt: skip


def _volume(baseline: Baseline, rows: Sequence[int], first: int) -> Volume:
    """Of days; drift spends sixteen times as much of the budget as the volume does."""
    known: dict[int, int] = {}
    for label, block in zip(baseline.labels, baseline.blocks, strict=True):
        known[label // 4] = known.get(label // 4, 0) + block.rows
    now: dict[int, int] = {}
    for at, count in enumerate(rows):
        now[(first + at) // 4] = now.get((first + at) // 4, 0) + count
    return volume(known, now, 4 * QUARTER_S)


def trial(
    traffic: Traffic, rng: np.random.Generator, rows: int, days: tuple[int, int], alpha: float,
    shift: Shift | None = None, *, peers: bool = True,
) -> Outcome:  # fmt: skip
    reference_days, window_days = days
    frame = traffic.draw(rng, reference_days + window_days, rows)
    inside = pl.col(BLOCK) >= 4 * reference_days
    reference, window = frame.filter(~inside), frame.filter(inside)
    if shift is not None:
        window = shift(window, rng)
    baseline = fitted(traffic, reference)
    decision = judged(baseline, window, 4 * reference_days, window_days, alpha, int(rng.integers(2**31)))
    named = frozenset(f.column for f in decision.columns if f.alarmed)
    others = other_rules(baseline, window, 4 * reference_days, window_days) if peers else {}
    return Outcome(decision.verdict, len(decision.unjudged), others, named)


def other_rules(baseline: Baseline, window: pl.DataFrame, first: int, days: int) -> dict[str, bool]:
    """What is commonly done, each at its own settings, from the same profile."""
    blocks = profile(window, baseline, window[BLOCK].to_numpy() - first)
    merged = merge_all(blocks)
    scores = {(s.column, s.method): s.value for s in drift_scores(baseline, merged) if s.value is not None}
    columns = [*baseline.coding.numbers, *baseline.coding.categories]
    # Evidently above 1,000 reference rows: Wasserstein / std for numbers, Jensen-Shannon in nats for categories.
    drifted = [
        scores.get((c, "wasserstein"), 0.0) >= 0.1
        if c in baseline.coding.numbers
        else scores.get((c, "jensen_shannon"), 0.0) * np.log(2) ** 0.5 >= 0.1
        for c in columns
    ]
    tests = row_tests(baseline, blocks, alpha=0.05, floors=dict.fromkeys(baseline.columns, 0.0))
    return {
        "evidently_any": any(drifted),
        "evidently_half": bool(np.mean(drifted) >= 0.5),
        "ks_bonferroni": tests.p is not None and tests.p <= 0.05,
        "three_sigma": _three_sigma(baseline, merged, days),
        "psi_0.1": any(scores.get((c, "psi"), 0.0) > 0.1 for c in columns),
    }


def _three_sigma(baseline: Baseline, window: BlockProfile, days: int) -> bool:
    """A column's Jensen-Shannon distance beyond mean + 3 standard deviations of chunks of the reference (NannyML)."""
    chunk = (np.array(baseline.labels) - baseline.labels[0]) // (4 * days)
    of_chunks: dict[str, list[float]] = {}
    for number in range(int(chunk.max()) + 1):
        part = merge_all([b for b, c in zip(baseline.blocks, chunk, strict=True) if c == number])
        for score in drift_scores(baseline, part):
            if score.method == "jensen_shannon" and score.value is not None:
                of_chunks.setdefault(score.column, []).append(score.value)
    for score in drift_scores(baseline, window):
        seen = of_chunks.get(score.column)
        known = score.method == "jensen_shannon" and score.value is not None
        if known and seen and score.value > np.mean(seen) + 3 * np.std(seen):
            return True
    return False
