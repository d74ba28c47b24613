"""Real answers of trained models on the Banking77 test messages, and a challenger made worse by so many points.

`cpu_banking77` keeps what its models answered; here the one trained on everything is the champion, and the one that
the product retrained is the challenger. So many of its answers are spoilt, or put right, that over all messages its
accuracy differs from the champion's by exactly what is asked. Messages are then drawn with replacement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from monitor.spec.envelope import Envelope
from retrain.evals.base import wilson
from retrain.gates.base import ComparedScores, GateInputs, GateResult
from retrain.gates.no_regression import judge

KEPT: Final = Path(__file__).resolve().parents[1] / "results" / "banking77_answers.parquet"
ROWS: Final = (300, 1000, 2000)
Labels = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Answers:
    """Shape of each: (messages,)."""

    truth: Labels
    champion: Labels
    challenger: Labels


def keep(truth: pl.Series, said: Mapping[str, pl.Series]) -> None:
    """Keep what models answered, without the messages."""
    KEPT.parent.mkdir(exist_ok=True)
    frame = pl.DataFrame({"truth": truth, **said}, schema_overrides={"truth": pl.String})
    frame.with_columns(pl.all().cast(pl.Categorical)).write_parquet(KEPT, compression="zstd")


def read() -> Answers | None:
    """None where `cpu_banking77` has not run."""
    if not KEPT.is_file():
        return None
    frame = pl.read_parquet(KEPT).with_columns(pl.all().cast(pl.String))
    return Answers(*(frame[name].to_numpy().astype(np.str_) for name in ("truth", "scratch", "now")))


def altered(rng: np.random.Generator, given: Answers, gain: float) -> Labels:
    """The challenger's answers, at random ones spoilt or put right, so that it is better by `gain` over all messages.

    Rounded towards worse.
    """
    right = given.challenger == given.truth
    wanted = int(np.floor((given.champion == given.truth).sum() + gain * len(right) + 1e-9))
    found, more = given.challenger.copy(), wanted - int(right.sum())
    at = rng.choice(np.flatnonzero(~right if more > 0 else right), size=abs(more), replace=False)
    others = np.unique(given.truth)
    for i in at:
        found[i] = given.truth[i] if more > 0 else rng.choice(others[others != given.truth[i]])
    return found


def judged(rng: np.random.Generator, given: Answers, n: int, gain: float, margin: float) -> GateResult:
    drawn = rng.integers(0, len(given.truth), size=n)
    challenger = altered(rng, given, gain)
    sides = ((side[drawn] == given.truth[drawn]).astype(np.float64) for side in (given.champion, challenger))
    return judge(GateInputs(envelope=Envelope(max_regression=margin), new=ComparedScores("accuracy", *sides), old=None))


def by_rows(given: Answers, points: int, draws: int, seed: int) -> list[dict[str, float]]:
    """For each number of drawn messages: share promoted of those that are worse by the margin, and power."""
    margin, rng, found = points / 100, np.random.default_rng(seed + 100 * points), list[dict[str, float]]()
    for n in ROWS:
        worse = [judged(rng, given, n, -margin, margin) for _ in range(draws)]
        passed = sum(result.verdict == "pass" for result in worse)
        low, high = wilson(passed, draws)
        others = {
            name: sum(judged(rng, given, n, gain, margin).verdict == "pass" for _ in range(draws // 4)) / (draws // 4)
            for name, gain in (("equal", 0.0), ("better", margin))
        }
        detectable = float(np.median([r.evidence["power"]["detectable_loss"] for r in worse[:200]]))
        found.append({
            "rows": n, "draws": draws, "wrongly_promoted": passed / draws, "low": round(low, 5),
            "high": round(high, 5), "power_if_equal": others["equal"], "power_if_better": others["better"],
            "detectable_loss": round(detectable, 4),
        })  # fmt: skip
    return found
