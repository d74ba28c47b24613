"""What the drift rule alarms on: traffic without drift, planted shifts, irrelevant ones, texts, and a month of days.

    python -m bench.detection [--full] [--trials N] [--cases null,power,...] [--seed N]

Small by default (minutes); --full takes hours. Beside every figure of the rule those of other rules on the same
windows (a quarter of them), each at its own settings: Evidently's default (any column, half of the columns),
Kolmogorov-Smirnov and chi-square with Bonferroni at 5 %, three standard deviations over chunks (NannyML), PSI over 0.1.
Read alarm rates beside false-alarm rates: a rule that always alarms finds everything.

Cases: null_<traffic>_<window>_<rows a day>, mean_over_null, run_length_<traffic>, power_<shift>_<rows>,
irrelevant_<rows>, text_banking77_<shift>_<rows>. Tables come from ../shared/data beside the checkout.

Appends JSON lines to bench/results/detection.jsonl.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.detect.shifts import SHIFTS  # noqa: E402
from bench.detect.text import TextStream  # noqa: E402
from bench.detect.traffic import BLOCK, Traffic, bootstrap, every  # noqa: E402
from bench.detect.trial import PEERS, Outcome, fitted, judged, other_rules, trial  # noqa: E402
from core.canonical import timestamp  # noqa: E402
from monitor.baseline import Baseline, fit_baseline  # noqa: E402
from monitor.counting import NumberCounts  # noqa: E402
from monitor.decide import decide  # noqa: E402
from monitor.profile import BlockProfile  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
ALPHA = 1 / 30
WINDOWS = {"1d": (30, 1), "7d": (63, 7)}
SMALL_TRAFFIC = ("credit", "zipf", "regimes", "sessions", "elec2_weeks")


@dataclass(frozen=True)
class Figure:
    case: str
    metric: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None


def null_cells(options: argparse.Namespace, traffics: dict[str, Traffic]) -> Iterator[Figure]:
    rates = []
    for name, traffic in traffics.items():
        if not options.full and name not in SMALL_TRAFFIC:
            continue
        for window, days in WINDOWS.items():
            for rows in options.rows or ((300, 1000, 10_000) if options.full else (300,)):
                case = f"null_{name}_{window}_{rows}"
                trials = max(options.trials // (10 if rows == 10_000 else 1), 10)
                found = [
                    trial(traffic, _rng(options, case, i), rows, days, ALPHA, peers=i % 4 == 0) for i in range(trials)
                ]
                rate = _share(found)
                if traffic.exchangeable:
                    rates.append(rate)
                yield from _figures(case, "false_alarm_rate", found)
                changed = [o.verdict in ("drift", "changed_below_floor") for o in found]
                yield Figure(case, "false_alarm_rate_without_floors", float(np.mean(changed)), "share")
                refused = np.mean([o.verdict == "reference_too_short" for o in found])
                yield Figure(case, "refused_rate", float(refused), "share")
                yield Figure(case, "unjudged_columns", float(np.mean([o.unjudged for o in found])), "columns")
    yield Figure("mean_over_null", "false_alarm_rate", float(np.mean(rates)), "share")


def power_cells(options: argparse.Namespace, traffics: dict[str, Traffic]) -> Iterator[Figure]:
    chosen = scored(options, traffics["credit"])
    shifts = SHIFTS if options.full else {n: SHIFTS[n] for n in ("mean_0.2_std", "null_5", "unseen_1")}
    for name, shift in shifts.items():
        for rows in (300, 1000, 10_000) if options.full else (1000,):
            case = f"power_{name}_{rows}"
            trials = max(options.trials // (10 if rows == 10_000 else 4), 10)
            found = [trial(chosen, _rng(options, case, i), rows, WINDOWS["1d"], ALPHA, shift) for i in range(trials)]
            yield from _figures(case, "alarm_rate", found)


def scored(options: argparse.Namespace, credit: Traffic) -> Traffic:
    """Nine columns of the credit table; `score` has the ranks of a real column and a normal law."""
    from scipy.stats import norm

    bank = credit.draw(_rng(options, "bank", 0), 1, 30_000).drop(BLOCK)
    ranks = bank["BILL_AMT1"].rank("ordinal").to_numpy()
    score = pl.Series("score", norm.ppf((ranks - 0.5) / bank.height))
    others = ("LIMIT_BAL", "AGE", "PAY_0", "BILL_AMT6", "PAY_AMT1", "SEX", "EDUCATION", "MARRIAGE")
    return bootstrap("scored", bank.select(others).with_columns(score))


def irrelevant_cells(options: argparse.Namespace) -> Iterator[Figure]:
    """Shifts under and over the floor at sizes where everything is significant; rows are drawn as counts per bin."""
    from scipy.stats import norm

    for rows in (100_000, 10_000_000):
        for name, size in (("0.7_floor", 0.035), ("1.4_floor", 0.07)):
            alarms = []
            for i in range(max(options.trials // 2, 10)):
                rng = _rng(options, f"irrelevant{rows}{name}", i)
                sample = pl.DataFrame({f"x{c}": rng.normal(size=20_000) for c in range(9)})
                baseline = fit_baseline(sample, dict.fromkeys(sample.columns, "number"), blocks=30)
                blocks = [_drawn(baseline, rng, rows, 0.0, norm.cdf) for _ in range(30)]
                window = [_drawn(baseline, rng, rows, size, norm.cdf)]
                alarms.append(decide(replace(baseline, blocks=tuple(blocks)), window, alpha=ALPHA, seed=i).alarmed)
            yield Figure(f"irrelevant_{rows}", f"alarm_rate_{name}", float(np.mean(alarms)), "share")


def _drawn(baseline: Baseline, rng: np.random.Generator, rows: int, shift: float, cdf: Any) -> BlockProfile:
    """A block of `rows` normal rows per column; the first column is shifted."""
    numbers = {}
    for c, (name, bins) in enumerate(baseline.coding.numbers.items()):
        below = np.concatenate([[0.0], cdf(bins.edges - (shift if c == 0 else 0.0)), [1.0]])
        counts = rng.multinomial(rows, np.diff(below)).astype(np.int64)
        numbers[name] = NumberCounts(counts, 0, 0.0, float(rows), None, None)
    return BlockProfile(rows, numbers, {})


def run_lengths(options: argparse.Namespace, traffics: dict[str, Traffic]) -> Iterator[Figure]:
    """The shipped pair of scales, one alarm per 30 days: false alarm days of 30, and days until a shift is seen."""
    streams = options.trials if options.full else max(options.trials // 10, 5)
    alphas = {1: 1 / 60, 7: 7 / 60}
    chosen = ("credit", "credit_bursts", "elec2_days", "regimes", "sessions") if options.full else ("credit", "regimes")
    for name in chosen:
        days_alarmed, episodes, delays, others = [], [], [], {peer: [] for peer in PEERS}
        for i in range(streams):
            rng = _rng(options, f"run{name}", i)
            frame = traffics[name].draw(rng, 98, 200)
            baseline = fitted(traffics[name], frame.filter(pl.col(BLOCK) < 4 * 60))
            alarmed = {d: _day(baseline, frame, d, alphas, i) for d in range(67, 97)}
            days_alarmed.append(sum(alarmed.values()))
            episodes.append(sum(a and not alarmed.get(d - 1, False) for d, a in alarmed.items()))
            if not options.full:
                continue
            for d in range(67, 97, 6):  # every sixth day: chunks are slow
                day = frame.filter(pl.col(BLOCK) // 4 == d)
                for peer, fired in other_rules(baseline, day, 4 * d, 1).items():
                    others[peer].append(fired)
            moved = _moved(frame, traffics[name], 0.3)
            delays.append(next((d - 66 for d in range(67, 97) if _day(baseline, moved, d, alphas, i)), 31))
        case = f"run_length_{name}"
        yield Figure(case, "false_alarm_days_per_30", float(np.mean(days_alarmed)), "days")
        yield Figure(case, "false_alarm_days_90_percent_point", float(np.quantile(days_alarmed, 0.9)), "days")
        yield Figure(case, "episodes_per_30", float(np.mean(episodes)), "episodes")
        for peer, fired in others.items():
            if fired:
                yield Figure(case, "false_alarm_days_per_30", float(np.mean(days_alarmed)), "days", peer,
                             30 * float(np.mean(fired)))  # fmt: skip
        if delays:
            yield Figure(case, "median_delay_days", float(np.median(delays)), "days")


def _day(baseline: Baseline, frame: pl.DataFrame, day: int, alphas: dict[int, float], seed: int) -> bool:
    """Whether a window that ends with this day alarms: the day's own, and on each seventh day the week's."""
    for days, alpha in alphas.items():
        if (day - 66) % days == 0:
            first = 4 * (day - days + 1)
            window = frame.filter((pl.col(BLOCK) >= first) & (pl.col(BLOCK) < first + 4 * days))
            if judged(baseline, window, first, days, alpha, 1000 * seed + day).alarmed:
                return True
    return False


def _moved(frame: pl.DataFrame, traffic: Traffic, size: float) -> pl.DataFrame:
    column = next(n for n, kind in traffic.columns.items() if kind == "number")
    later = pl.col(BLOCK) >= 4 * 67
    return frame.with_columns(pl.when(later).then(pl.col(column) + size * pl.col(column).std()).otherwise(column))


def text_cells(options: argparse.Namespace) -> Iterator[Figure]:
    streams = [TextStream(DATA, options.seed + i) for i in range(10 if options.full else 2)]
    for shift in ("none", "new_0.05", "new_0.2", "typos_0.05", "typos_0.2", "surge_0.05", "surge_0.2"):
        for rows in (300, 1000) if options.full else (1000,):
            case = f"text_banking77_{shift}_{rows}"
            count = max(options.trials // (2 if shift == "none" else 8), 10)
            alarms = [
                streams[i % len(streams)].alarmed(_rng(options, case, i), shift, rows, ALPHA) for i in range(count)
            ]
            metric = "false_alarm_rate" if shift == "none" else "alarm_rate"
            yield Figure(case, metric, float(np.mean(alarms)), "share")


def _rng(options: argparse.Namespace, case: str, i: int) -> np.random.Generator:
    return np.random.default_rng([options.seed, *case.encode(), i])


def _share(found: Sequence[Outcome]) -> float:
    return float(np.mean([outcome.alarmed for outcome in found]))


def _figures(case: str, metric: str, found: Sequence[Outcome]) -> Iterator[Figure]:
    ours = _share(found)
    yield Figure(case, metric, ours, "share")
    for peer in PEERS:
        theirs = float(np.mean([outcome.peers[peer] for outcome in found if outcome.peers]))
        yield Figure(case, metric, ours, "share", peer, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every traffic, size and shift; hours")
    parser.add_argument("--trials", type=int, default=60, help="trials of a null cell; other cells take a share")
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--cases", default="null,power,irrelevant,run_length,text")
    parser.add_argument("--rows", type=int, nargs="*", default=[], help="rows a day of null cells")
    parser.add_argument("--traffic", default="", help="only these kinds, by name")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "detection.jsonl")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit("no public data sets in shared/data beside the checkout; this bench draws its traffic from them")
    traffics = every(DATA)
    kept = {n: t for n, t in traffics.items() if n in options.traffic.split(",")} if options.traffic else traffics
    parts = {
        "null": lambda: null_cells(options, kept), "power": lambda: power_cells(options, traffics),
        "irrelevant": lambda: irrelevant_cells(options), "run_length": lambda: run_lengths(options, traffics),
        "text": lambda: text_cells(options),
    }  # fmt: skip
    machine = f"{platform.machine()} {os.cpu_count()} CPU {platform.system()}"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as out:
        for name in options.cases.split(","):
            for figure in parts[name]():
                line = {
                    "bench": "detection", "case": figure.case, "metric": figure.metric,
                    "value": round(figure.value, 4), "unit": figure.unit, "peer": figure.peer,
                    "peer_value": None if figure.peer_value is None else round(figure.peer_value, 4), "ratio": None,
                    "at": timestamp(datetime.now(UTC)), "machine": machine,
                }  # fmt: skip
                out.write(json.dumps(line) + "\n")
                out.flush()
                beside = "" if figure.peer is None else f"   {figure.peer} {figure.peer_value:.3f}"
                print(f"{figure.case:34s} {figure.metric:32s} {figure.value:8.4f} {figure.unit}{beside}", flush=True)


if __name__ == "__main__":
    main()
