"""How fast people are counted by group: rows to rates, against fairlearn; and a period from stored counts.

`metricframe_1m`: the same 1,000,000 rows with five protected columns. Eight rates of every group of every column and of
every pair of columns; ours with 95 % Wilson intervals, fairlearn's without any. `seconds`, with fairlearn's beside it,
and `largest_difference` between the two.

`rates_10m`: ours alone, on 10,000,000 rows. `seconds` and `rows_per_s`.

`period`: the counts of 92 daily windows of 5,000 rows, three protected columns and a score, as bytes: read, added up,
and the eight rates of every column and pair. `seconds`: the median of 20 times.
"""

import argparse
import time
from itertools import combinations
from typing import Any, Final

import numpy as np
import polars as pl

from bench.load.results import write_lines
from monitor.fairness.counts import GroupCounts, count
from monitor.fairness.counts_codec import decode_merged, encode
from monitor.fairness.grouping import Grouping
from monitor.fairness.rates import (
    ACCURACY,
    BASE,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    PRECISION,
    SELECTION,
    TRUE_NEGATIVE,
    TRUE_POSITIVE,
)

RATES: Final = (
    SELECTION, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE, TRUE_NEGATIVE, PRECISION, ACCURACY, BASE,
)  # fmt: skip
LEVELS: Final = {"sex": 2, "race": 6, "age": 5, "region": 8, "disability": 3}
MOST_S, LEAST_RATIO, MOST_PERIOD_S = 10.0, 20.0, 0.05
GROUPINGS: Final = [by for size in (1, 2) for by in combinations(LEVELS, size)]


def people(rows: int, seed: int, columns: tuple[str, ...] = tuple(LEVELS)) -> pl.DataFrame:
    """Answers, outcomes and protected columns as texts, as they lie in the lake."""
    rng = np.random.default_rng(seed)
    frame = {
        name: pl.Series([f"{name} {i}" for i in range(LEVELS[name])]).gather(rng.integers(0, LEVELS[name], rows))
        for name in columns
    }
    answers = pl.Series(["refused", "approved"])
    truth = rng.random(rows) < 0.3
    said = np.where(rng.random(rows) < 0.8, truth, ~truth)
    return pl.DataFrame(frame | {
        "prediction": answers.gather(said.astype(np.int64)), "outcome": answers.gather(truth.astype(np.int64)),
        "score": rng.random(rows),
    })  # fmt: skip


def rates_of(counts: GroupCounts, groupings: list[tuple[str, ...]]) -> dict[tuple[str, ...], np.ndarray[Any, Any]]:
    """Of each grouping: the rates with their ends, shape (rates, 3, groups)."""
    found = {}
    for by in groupings:
        cells = counts.cells(by, "approved")
        estimates = [rate.read(cells) for rate in RATES]
        found[by] = np.array([[one.value, *one.interval()] for one in estimates])
    return found


def ours(frame: pl.DataFrame) -> tuple[float, dict[tuple[str, ...], np.ndarray[Any, Any]]]:
    began = time.perf_counter()
    counts = count(frame, Grouping(tuple(LEVELS)), prediction="prediction", outcome="outcome")
    found = rates_of(counts, GROUPINGS)
    return time.perf_counter() - began, found


def fairlearns(frame: pl.DataFrame) -> tuple[float, dict[tuple[str, ...], np.ndarray[Any, Any]]]:
    """fairlearn has the answers as 0 and 1 already."""
    from fairlearn import metrics
    from sklearn.metrics import accuracy_score, precision_score

    functions = {
        "selection": metrics.selection_rate, "tpr": metrics.true_positive_rate, "fpr": metrics.false_positive_rate,
        "fnr": metrics.false_negative_rate, "tnr": metrics.true_negative_rate, "ppv": precision_score,
        "accuracy": accuracy_score, "base": lambda outcome, _: np.mean(outcome),
    }  # fmt: skip
    said, truth = ((frame[name] == "approved").to_numpy().astype(np.int64) for name in ("prediction", "outcome"))
    groups = frame.select(*LEVELS).to_pandas()
    began = time.perf_counter()
    found = {
        by: metrics.MetricFrame(
            metrics=functions, y_true=truth, y_pred=said, sensitive_features=groups[list(by)]
        ).by_group.sort_index().to_numpy().T
        for by in GROUPINGS
    }  # fmt: skip
    return time.perf_counter() - began, found


def metricframe(options: argparse.Namespace) -> bool:
    frame = people(1_000_000, options.seed)
    seconds, found = min((ours(frame) for _ in range(3)), key=lambda one: one[0])
    other, theirs = fairlearns(frame)
    apart = max(float(np.nanmax(np.abs(found[by][:, 0] - theirs[by].astype(float)))) for by in GROUPINGS)
    write_lines(
        options.out, "metricframe_1m", {"seconds": (seconds, "s")}, peer="fairlearn MetricFrame",
        beside={"seconds": other}, bench="fairness", seed=options.seed, largest_difference=apart,
    )  # fmt: skip
    print(f"metricframe_1m: {seconds:.2f} s, fairlearn {other:.1f} s, {other / seconds:.0f} times; apart {apart:.1e}")
    return other / seconds >= LEAST_RATIO and apart < 1e-9


def ten_million(options: argparse.Namespace) -> bool:
    rows = 10_000_000
    frame = people(rows, options.seed)
    seconds, _ = ours(frame)
    write_lines(
        options.out, "rates_10m", {"seconds": (seconds, "s"), "rows_per_s": (rows / seconds, "rows/s")},
        bench="fairness", seed=options.seed,
    )  # fmt: skip
    print(f"rates_10m: {seconds:.2f} s")
    return seconds <= MOST_S


def period(options: argparse.Namespace) -> bool:
    columns = ("sex", "age", "disability")
    windows = [
        encode(count(
            people(5_000, options.seed + day, columns), Grouping(columns), prediction="prediction", outcome="outcome",
            score="score",
        ))
        for day in range(92)
    ]  # fmt: skip
    groupings = [by for size in (1, 2) for by in combinations(columns, size)]
    times = []
    for _ in range(20):
        began = time.perf_counter()
        rates_of(decode_merged(windows), groupings)
        times.append(time.perf_counter() - began)
    seconds = float(np.median(times))
    write_lines(options.out, "period", {"seconds": (seconds, "s")}, bench="fairness", seed=options.seed)
    print(f"period: {seconds * 1000:.0f} ms of {sum(map(len, windows)):,} bytes")
    return seconds <= MOST_PERIOD_S
