"""Challengers that are worse on purpose: how often the gate `no_regression` promotes them, and better ones.

Champion and challenger answer simulated rows; their right and wrong answers go through the gate itself. A challenger is
worse by exactly the declared margin, as good, or better by the margin. `clustered` gives each subject four rows that
are answered alike, which the gate is told. The peer is the rule before: promoted unless the observed loss is above the
limit. Beside them, the same with real answers of trained models (`bench.retraining.answers`).
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from bench.retraining import answers
from bench.retraining.case import Case, Options, record
from core.arrays import Floats
from monitor.spec.envelope import Envelope
from retrain.evals.base import wilson
from retrain.gates.base import ComparedScores, GateInputs, GateResult
from retrain.gates.no_regression import judge

POINTS: Final = (1, 2, 5)
ROWS: Final = (100, 300, 1000, 2000)
DISAGREE: Final = (0.06, 0.12, 0.25)  # share of the rows on which only one of the two is right
PER_SUBJECT: Final = 4
BAR: Final = 0.05
Setting = tuple[int, float, bool]  # rows, disagreement, clustered


def settings(rows: tuple[int, ...]) -> Iterator[Setting]:
    yield from ((n, share, False) for n in rows for share in DISAGREE)
    yield from ((n, DISAGREE[1], True) for n in rows)


def judged(rng: np.random.Generator, setting: Setting, gain: float, margin: float) -> GateResult:
    """The gate's result on one draw of rows, with a challenger that is truly better by `gain`."""
    n, share, clustered = setting
    size = n // PER_SUBJECT if clustered else n
    kind = rng.choice(3, p=[(share + gain) / 2, (share - gain) / 2, 1 - share], size=size)
    right = rng.random(size) < 0.85
    champion = np.where(kind == 2, right, kind == 1).astype(np.float64)
    challenger = np.where(kind == 2, right, kind == 0).astype(np.float64)
    subjects: tuple[str | None, ...] = ()
    if clustered:
        champion, challenger = (np.repeat(side, PER_SUBJECT) for side in (champion, challenger))
        subjects = tuple(f"s{i // PER_SUBJECT}" for i in range(len(champion)))
    scores = ComparedScores("accuracy", _floats(champion), _floats(challenger), subjects=subjects)
    return judge(GateInputs(envelope=Envelope(max_regression=margin), new=scores, old=None))


def _floats(values: object) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _of_points(options: Options, points: int) -> bool:
    margin, draws = points / 100, 200 if options.dry_run else 2000
    rng = np.random.default_rng(options.seed + points)
    print(f"   {'rows':>6} {'disagree':>9} {'subjects':>9} {'worse':>8} {'equal':>8} {'better':>8} {'detectable':>11}")
    worst, wrong, before, total, of_worst = -1.0, 0, 0, 0, 0
    power: dict[int, float] = {}
    for setting in settings(ROWS[:2] if options.dry_run else ROWS):
        n, share, clustered = setting
        worse = [judged(rng, setting, -margin, margin) for _ in range(draws)]
        passed = sum(r.verdict == "pass" for r in worse)
        others = {
            gain: sum(judged(rng, setting, gain, margin).verdict == "pass" for _ in range(draws // 8)) / (draws // 8)
            for gain in (0.0, margin)
        }
        seen = float(np.median([r.evidence["power"]["detectable_loss"] for r in worse[:200]]))
        print(
            f"   {n:>6} {share:>9.2f} {n // PER_SUBJECT if clustered else n:>9} {passed / draws:>8.4f} "
            f"{others[0.0]:>8.3f} {others[margin]:>8.3f} {seen:>11.4f}",
            flush=True,
        )
        wrong, total = wrong + passed, total + draws
        before += sum(r.evidence["value"] >= -margin for r in worse)
        if passed / draws > worst:
            worst, of_worst = passed / draws, n
        if not clustered and math.isclose(share, DISAGREE[1]):
            power[n] = others[0.0]
    low, high = wilson(wrong, total)
    real = _real(options, points)
    record(
        options, f"gates_{points}", {"wrongly_promoted_share": (wrong / total, "share")},
        peer="observed difference against the limit", beside={"wrongly_promoted_share": before / total},
        low=round(low, 5), high=round(high, 5), largest_of_a_setting=round(worst, 5), rows_of_it=of_worst, n=total,
        margin=margin, power_if_equal={str(n): round(value, 3) for n, value in power.items()}, banking77=real,
    )  # fmt: skip
    print(f"   95% interval {low:.4f} to {high:.4f}, n = {total:,}; largest of a setting {worst:.4f} ({of_worst} rows)")
    return max(worst, *(line["wrongly_promoted"] for line in real), 0.0) <= BAR


def _real(options: Options, points: int) -> list[dict[str, float]]:
    """By number of rows, with answers of models that were trained; empty where none are kept."""
    given = answers.read()
    if given is None:
        print("   no real answers are kept: run the case cpu_banking77 first")
        return []
    found = answers.by_rows(given, points, 100 if options.dry_run else 2000, options.seed)
    for line in found:
        print(
            f"   {line['rows']:>6} {'real':>9} {line['rows']:>9} {line['wrongly_promoted']:>8.4f} "
            f"{line['power_if_equal']:>8.3f} {line['power_if_better']:>8.3f} {line['detectable_loss']:>11.4f}",
            flush=True,
        )
    return found


def run(options: Options) -> None:
    """Raises SystemExit where a setting promotes more than 5 % of the worse challengers."""
    kept = [_of_points(options, points) for points in POINTS]
    if not all(kept) and not options.dry_run:
        raise SystemExit(f"a setting promoted more than {BAR:.0%} of the challengers that are worse by the margin")


CASE: Final = Case("gates", "challengers worse by 1, 2 and 5 points, through the gate itself", "cpu", run)
