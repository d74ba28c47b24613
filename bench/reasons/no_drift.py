"""Windows without drift: how often the domain classifier names something all the same, and how long a look takes.

Reference and window are drawn alike, with numbers, categories and texts; every second pair comes in bursts of rows that
are alike. It may name something in one window of forty; one in twenty is too many.
"""

import argparse
import time

import numpy as np
import polars as pl

from bench.load.results import write_lines
from monitor.why.columns import Kind
from monitor.why.drift import find_drift

KINDS: dict[str, Kind] = {"amount": "number", "rating": "number", "channel": "category", "text": "text"}
WORDS = ("please block my card", "which rate applies abroad", "top up not arrived yet", "change the address today")
REFERENCE, WINDOW, BURST = 400, 200, 10
MOST = 0.05


def run(options: argparse.Namespace) -> bool:
    draw, named, began = np.random.default_rng(options.seed), 0, time.perf_counter()
    for at in range(options.rows):
        burst = BURST if at % 2 else 1
        before, after = (_rows(draw, n // burst)[np.repeat(np.arange(n // burst), burst)] for n in (REFERENCE, WINDOW))
        named += bool(find_drift(before, after, KINDS, seed=at).drivers)
    seconds, rate = (time.perf_counter() - began) / options.rows, named / options.rows
    print(f"no_drift: {named} of {options.rows} windows named something ({100 * rate:.1f} %); {seconds:.2f} s each")
    write_lines(
        options.out, "no_drift", {"false_alarm_rate": (rate, "share"), "seconds": (seconds, "s")}, bench="explain",
        windows=options.rows, reference=REFERENCE, rows=WINDOW,
    )  # fmt: skip
    return rate <= MOST


def _rows(draw: np.random.Generator, count: int) -> pl.DataFrame:
    return pl.DataFrame({
        "amount": draw.gamma(2, 400, count), "rating": draw.integers(1, 6, count).astype(float),
        "channel": draw.choice(["app", "web", "phone"], count),
        "text": [" ".join(draw.permutation(WORDS[int(k)].split())) for k in draw.integers(0, len(WORDS), count)],
    })  # fmt: skip
