"""How often a nominal 95 % interval holds the truth: over every table that can occur, not over a sample of them.

Denominators from 30 rows on, rates 0.05 to 0.95 in steps of 0.025. Of two groups the second has as many rows as the
first, and three times as many. Tables of more than 200 rows are drawn (4,000 of each of 49 pairs of rates), because
there are too many of them.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import binom

from bench.load.results import write_lines
from core.arrays import Floats, Ints
from monitor.fairness import intervals

ROWS = (30, 50, 100, 300, 1000)
RATES = np.arange(0.05, 0.951, 0.025)
DRAWN = 4000
MOST_LISTED = 200  # rows of a group whose tables are listed
PAIRS: dict[str, tuple[Callable[[Ints, int, Ints, int], intervals.Ends], Callable[[float, float], float]]] = {
    "difference": (intervals.newcombe, lambda p, q: p - q),
    "difference_score": (intervals.miettinen_nurminen, lambda p, q: p - q),
    "ratio": (intervals.ratio, lambda p, q: p / q),
}


def of_rates(rows: int) -> Floats:
    """The coverage of a rate of so many rows, for each true rate."""
    hits = np.arange(rows + 1)
    low, high = intervals.wilson(hits, rows)
    return np.array([binom.pmf(hits, rows, p)[(low <= p) & (p <= high)].sum() for p in RATES])


def of_pairs(name: str, rows: int, others: int, seed: int) -> Floats:
    """The coverage of a disparity of two groups, for each pair of true rates."""
    ends, value = PAIRS[name]
    if max(rows, others) > MOST_LISTED:
        return np.array(list(_drawn(name, rows, others, seed)))
    a, b = np.meshgrid(np.arange(rows + 1), np.arange(others + 1), indexing="ij")
    low, high = ends(a, rows, b, others)
    chances = [[binom.pmf(np.arange(n + 1), n, p) for p in RATES] for n in (rows, others)]
    return np.array([
        chances[0][i] @ ((low <= value(p, q) + 1e-12) & (value(p, q) - 1e-12 <= high)) @ chances[1][j]
        for i, p in enumerate(RATES) for j, q in enumerate(RATES)
    ])  # fmt: skip


def _drawn(name: str, rows: int, others: int, seed: int) -> Iterator[float]:
    ends, value = PAIRS[name]
    rng = np.random.default_rng(seed)
    for p in RATES[::6]:
        for q in RATES[::6]:
            low, high = ends(rng.binomial(rows, p, DRAWN), rows, rng.binomial(others, q, DRAWN), others)
            yield float(np.mean((low <= value(p, q) + 1e-12) & (value(p, q) - 1e-12 <= high)))


def run(options: argparse.Namespace) -> bool:
    """Write a line for each denominator and kind of interval; False if one is outside what is promised."""
    good = True
    for rows in ROWS:
        found = {"rate": of_rates(rows)}
        for name in PAIRS:
            if name == "difference_score" and rows > MOST_LISTED:
                continue  # it takes its time, and agrees with the other by then
            found[name] = np.concatenate([of_pairs(name, rows, rows * times, options.seed) for times in (1, 3)])
        main = np.concatenate([found[name] for name in ("rate", "difference", "ratio")])
        lines = {"coverage": (float(main.mean()), "share"), "worst_coverage": (float(main.min()), "share")}
        for name, covered in found.items():
            lines |= {f"{name}_coverage": (float(covered.mean()), "share"),
                      f"{name}_worst_coverage": (float(covered.min()), "share")}  # fmt: skip
            good = good and 0.93 <= covered.mean() <= 0.97 and covered.min() >= 0.9
        write_lines(options.out, f"coverage_n{rows}", lines, bench="fairness", nominal=0.95)
        print(f"coverage_n{rows}: " + ", ".join(f"{k} {v[0]:.4f}" for k, v in lines.items()))
    return good
