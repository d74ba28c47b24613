"""How often a fairness limit alarms while it holds: at most as often as stated, with 2 to 40 groups.

Each run is a history of 30 windows. The groups have 30 to 300 rows in each, and rates that lie exactly at the limit:
all are equal (limit 0), or one is as far from the others as the limit allows. Metrics, as shares of the runs:
`window_false_alarm_rate`: the first window alarms alone; level 0.025. `over_windows_false_alarm_rate`: all windows
together, looked at after each, ever alarm; level 0.025. `tests_false_alarm_rate`: some group of the first window is
named as different from the rest though all are equal; level 0.05. `false_alarm_rate`: the largest of the three, each
divided by its level and times 0.05; so it is to be at most 0.05.
"""

import argparse

import numpy as np

from bench.load.results import write_lines
from core.arrays import Ints
from monitor.fairness.bounds import Pairs, PairwiseBounds
from monitor.fairness.comparisons import DISPARITIES
from monitor.fairness.estimates import of_shares
from monitor.fairness.multiplicity import against_rest
from monitor.fairness.sequential import Sides, path

WINDOWS = 30
LEVELS = {"window": 0.025, "over_windows": 0.025, "tests": 0.05}
GROUPS = (2, 3, 5, 10, 20, 40)


def history(rng: np.random.Generator, groups: int, kind: str, limit: float) -> tuple[Ints, Ints]:
    """Hits and rows of each group in each window, shape (windows, groups): one rate is as far off as is allowed."""
    n = np.broadcast_to(rng.integers(30, 301, groups), (WINDOWS, groups))
    high = rng.uniform(0.05 + limit if kind == "difference" else 0.1, 0.95)
    rates = np.full(groups, high)
    rates[rng.integers(groups)] = high - limit if kind == "difference" else high * limit
    return rng.binomial(n, rates), n


def alarms(hits: Ints, n: Ints, kind: str, limit: float) -> tuple[bool, bool]:
    """Whether the first window alarms alone, and whether all windows together ever do."""
    disparity = DISPARITIES[kind]
    bounds = PairwiseBounds([Pairs.of(of_shares(hits[0], n[0]), "between")], disparity)
    low, high = bounds(LEVELS["window"])
    alone = (high is not None and high < limit) if kind == "ratio" else (low is not None and low > limit)
    less, more = np.nonzero(~np.eye(n.shape[1], dtype=bool))
    sides = Sides(hits[:, more], n[:, more], hits[:, less], n[:, less])
    slope, intercept = (1.0 / limit, 0.0) if kind == "ratio" else (1.0, limit)
    together, _ = path(sides, slope=slope, intercept=intercept, error=LEVELS["over_windows"])
    return alone, bool(together.max() >= -np.log(LEVELS["over_windows"]))


def run(options: argparse.Namespace) -> bool:
    """Write a line for each number of groups and one for all; False if a rate is above its level, chance apart."""
    rng, good = np.random.default_rng(options.seed), True
    seen: list[tuple[bool, bool, bool]] = []
    for groups in GROUPS:
        found = []
        for at in range(-(-options.runs // len(GROUPS))):
            kind, limit = (("difference", 0.0), ("difference", 0.1), ("ratio", 0.8))[at % 3]
            hits, n = history(rng, groups, kind, limit)
            equal = rng.binomial(n[0], rng.uniform(0.05, 0.95))
            found.append((*alarms(hits, n, kind, limit), bool((against_rest(equal, n[0]) < LEVELS["tests"]).any())))
        seen += found
        good = _written(options, found, f"null_{groups}_groups", groups=groups) and good
    return _written(options, seen, "null", groups=max(GROUPS)) and good


def _written(options: argparse.Namespace, found: list[tuple[bool, bool, bool]], case: str, *, groups: int) -> bool:
    runs = len(found)
    rates = dict(zip(LEVELS, np.mean(found, axis=0).tolist(), strict=True))
    worst = max(rate / LEVELS[name] for name, rate in rates.items()) * 0.05
    lines = {"false_alarm_rate": (worst, "share")} | {
        f"{name}_false_alarm_rate": (rate, "share") for name, rate in rates.items()
    }
    write_lines(options.out, case, lines, bench="fairness", runs=runs, groups=groups, levels=LEVELS)
    print(
        f"{case}, {runs} runs: "
        + ", ".join(f"{name} {rate:.4f} (level {LEVELS[name]})" for name, rate in rates.items())
    )
    return all(rate <= LEVELS[name] + 3 * np.sqrt(LEVELS[name] / runs) for name, rate in rates.items())
