"""The cells of the detection bench: each is one case with its arguments, and runs in one process."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import norm

from bench.detect.early import alarms, budget_of_window, divided, readme_traffic
from bench.detect.peers import PEERS, PeerRules, real_evidently, real_nannyml
from bench.detect.run_length import run_length
from bench.detect.shifts import POWERS, new_level
from bench.detect.synthetic import synthetic_traffic
from bench.detect.text import SHIFTS as TEXT_SHIFTS
from bench.detect.text import TextStream
from bench.detect.traffic import BLOCK, Tables, Traffic, real_traffic
from bench.detect.trial import (
    LENGTHS,
    Length,
    Outcome,
    draw_trial,
    fit,
    judge_all,
    judge_from_bank,
    judge_window,
    make_bank,
)
from monitor.profile.block import BlockProfile, profile_blocks
from monitor.profile.counting import NumberCounts
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ALPHA = 1 / 30
TENTH, HUNDREDTH = 0.10, 0.01
MIN_BANKED_ROWS = 10_000  # rows a day from which profiles are drawn from a bank
SMALL_NULL_TRAFFIC = ("credit", "zipf", "regimes", "sessions", "elec2_weeks")
NULL_TRAFFIC_AT_1000_ROWS = (
    "solutions", "scored", "compas", "elec2_days", "bike_days", "sessions", "regimes", "day_effect_0.02",
    "day_effect_0.04",
)  # fmt: skip
LARGE_NULL_CELLS = (("scored", 10_000), ("solutions", 10_000), ("pareto", 10_000), ("scored", 100_000))
README_TRAFFIC = "readme"  # rows of the spec that README shows
EARLY_TRAFFIC = (
    "credit", "scored", "sessions", "scored_bursts", "credit_bursts", "compas_bursts", "zipf", "nulls", "pareto", "ids",
    README_TRAFFIC, "compas", "wide50",
)  # fmt: skip
EARLY_SHIFTS = ("divided_by_30", "new_level_0.2")
EARLY_RATES = (200, 2_000)  # rows a day
EARLY_WINDOWS = 40  # judged after each reference
RUN_LENGTH_TRAFFIC = ("scored", "regimes", "elec2_days", "sessions", "scored_bursts")


@dataclass(frozen=True)
class Figure:
    """One result of the bench. `exchangeable`: a false-alarm rate that counts in the mean over null cells."""

    case: str
    metric: str
    value: float
    unit: str = "share"
    peer: str | None = None
    peer_value: float | None = None
    exchangeable: bool = False


@dataclass(frozen=True)
class Cell:
    """One case with its arguments; `trials`: how many windows it judges at least."""

    kind: str
    args: tuple[Any, ...]
    trials: int
    seed: int
    peers: Path


def cells_of(case: str, options: argparse.Namespace) -> list[Cell]:
    """The cells of one case, in the small or the full bench."""
    full, wanted = options.full, options.traffic.split(",") if options.traffic else None

    def cell(*args: Any, trials: int) -> Cell:
        return Cell(case, args, max(trials, 10), options.seed, options.peers)

    names = [n for n in traffics() if wanted is None or n in wanted]
    match case:
        case "null":
            # Wide tables come last because they take longest. Traffic whose volume is out of bounds needs few trials,
            # because it is never judged.
            names.sort(key=lambda n: (len(traffics()[n].columns) > 12, not traffics()[n].exchangeable))
            found = [(n, w, 300) for n in names for w in LENGTHS if full or wanted or n in SMALL_NULL_TRAFFIC]
            if full:
                found = [f for f in found if f[0] != "wide200" or f[1] == "1d"]
                found += [(n, w, 1000) for n in names if n in NULL_TRAFFIC_AT_1000_ROWS for w in LENGTHS]
                found += [(n, w, rows) for n, rows in LARGE_NULL_CELLS if n in names for w in LENGTHS]
            guarded = [n for n in names if not 0.5 <= traffics()[n].volume <= 2.0]
            return [cell(*f, trials=options.trials // (10 if f[0] in guarded else 1)) for f in found]
        case "power":
            share = 1 if full else 4
            return [
                cell(at, rows, trials=options.trials // (4 * share) if rows < MIN_BANKED_ROWS else options.trials // 8)
                for at, power in enumerate(POWERS)
                for rows in power.rows
                if full or (at == 0 and rows == 1000)
            ]
        case "irrelevant":
            return [cell(rows, trials=options.trials // 2) for rows in (100_000, 10_000_000)]
        case "run_length":
            chosen = [n for n in RUN_LENGTH_TRAFFIC if wanted is None or n in wanted]
            streams = options.trials // 5 if full else options.trials // 10
            return [cell(n, trials=streams) for n in (chosen if full else chosen[:2])]
        case "text":
            sizes = (300, 1000, 10_000) if full else (1000,)
            return [cell(rows, full, trials=options.trials // (1 if full else 2)) for rows in sizes]
        case "peers":
            return [cell(trials=20)]
        case "early" | "early_power":
            # 520 windows of each with the default number of trials.
            cases = [n for n in EARLY_TRAFFIC if wanted is None or n in wanted] if case == "early" else EARLY_SHIFTS
            return [cell(of, rows, trials=520 * options.trials // 60) for of in cases for rows in EARLY_RATES]
    raise ValueError(f"no case {case!r}")


def run_cell(cell: Cell) -> list[Figure]:
    """The results of one cell."""
    run: dict[str, Callable[..., Iterator[Figure]]] = {
        "null": _null_cell, "power": _power_cell, "irrelevant": _irrelevant_cell, "run_length": _run_length_cell,
        "text": _text_cell, "peers": _peers_cell, "early": _early_cell, "early_power": _early_power_cell,
    }  # fmt: skip
    return list(run[cell.kind](cell, *cell.args))


def mean_over_null(rates: Sequence[Figure]) -> Iterator[Figure]:
    """Mean and largest false-alarm rate over the null cells, and those of the peers."""
    for metric in sorted({f.metric for f in rates}):
        mine = [f.value for f in rates if f.metric == metric and f.peer is None]
        yield Figure("mean_over_null", metric, float(np.mean(mine)))
        yield Figure("mean_over_null", f"largest_{metric}", max(mine))
        yield Figure("mean_over_null", f"cells_of_{metric}", len(mine), "cells")
        for peer in PEERS if metric == "false_alarm_rate" else ():
            theirs = [f.peer_value for f in rates if f.metric == metric and f.peer == peer and f.peer_value is not None]
            if theirs:
                yield Figure("mean_over_null", metric, float(np.mean(mine)), "share", peer, float(np.mean(theirs)))


@cache
def traffics() -> dict[str, Traffic]:
    return {traffic.name: traffic for traffic in [*real_traffic(Tables.read(DATA)), *synthetic_traffic()]}


@cache
def _stream(seed: int) -> TextStream:
    return TextStream.read(DATA, seed)


def _rng(cell: Cell, *of: Any) -> np.random.Generator:
    return np.random.default_rng([cell.seed, *"/".join(map(str, (cell.kind, *cell.args, *of))).encode()])


def _null_cell(cell: Cell, name: str, window: str, rows: int) -> Iterator[Figure]:
    traffic, length = traffics()[name], LENGTHS[window]
    case = f"null_{name}_{window}_{rows}"
    also = (TENTH, HUNDREDTH) if window == "7d" else (TENTH,)
    references = -(-cell.trials // length.windows)
    bank = None
    if rows >= MIN_BANKED_ROWS:
        bank = make_bank(traffic, _rng(cell, "bank"), rows, 4 * (length.reference + length.days * length.windows) + 120)
    found: list[list[Outcome]] = []
    for i in range(references):
        rng, peers = _rng(cell, i), i % 8 == 0
        if bank is None:
            every = judge_all(traffic, rng, rows, length, ALPHA, peers=peers, also=also if rows == 300 else ())
            found.append([outcome for _, outcome in every])
        else:
            found.append(judge_from_bank(traffic, bank, rng, length, ALPHA, peers=peers))
    flat = [outcome for part in found for outcome in part]
    counts = traffic.exchangeable and traffic.volume == 1.0
    yield from _with_peers(case, "false_alarm_rate", flat, counts)
    changed = [[o.changed for o in part] for part in found]
    yield Figure(case, "false_alarm_rate_without_floors", float(np.mean(changed)), exchangeable=counts)
    by_reference = np.mean(changed, axis=1)
    yield Figure(case, "standard_error", float(by_reference.std(ddof=1) / np.sqrt(len(found))))
    for rate in also if rows == 300 else ():
        metric = f"false_alarm_rate_at_{rate:.0%}".replace("%", "_percent")
        yield Figure(case, metric, float(np.mean([o.at[rate] for o in flat])), exchangeable=counts)
    yield Figure(case, "refused_rate", float(np.mean([o.verdict == "reference_too_short" for o in flat])))
    yield Figure(case, "volume_changed_rate", float(np.mean([o.verdict == "volume_changed" for o in flat])))
    yield Figure(case, "unjudged_columns", float(np.mean([o.unjudged for o in flat])), "columns")
    if window == "1d":
        yield Figure(case, "quarters_refused_rate", float(np.mean([not part[0].quarters for part in found])))


def _power_cell(cell: Cell, at: int, rows: int) -> Iterator[Figure]:
    power = POWERS[at]
    length = Length(30, 1, 4)
    found: dict[str, list[Outcome]] = {name: [] for name in power.shifts}
    for i in range(-(-cell.trials // length.windows)):
        every = judge_all(
            traffics()[power.traffic], _rng(cell, i), rows, length, ALPHA, peers=i % 4 == 0, shifts=power.shifts
        )
        for name, outcome in every:
            found[name].append(outcome)
    for name, part in found.items():
        yield from _with_peers(f"power_{name}_{rows}", "alarm_rate", part, False)


def _early_cell(cell: Cell, name: str, rows: int) -> Iterator[Figure]:
    """False alarms of the early rule on a first reference of about 1,000 rows, against drift's share of the budget."""
    traffic = readme_traffic(DATA) if name == README_TRAFFIC else traffics()[name]
    rates = [
        float(np.mean(alarms(traffic, _rng(cell, i), rows, EARLY_WINDOWS)))
        for i in range(-(-cell.trials // EARLY_WINDOWS))
    ]
    case = f"early_{name}_{rows}"
    yield Figure(case, "false_alarm_rate", float(np.mean(rates)))
    yield Figure(case, "budget", budget_of_window(rows))
    yield Figure(case, "standard_error", float(np.std(rates, ddof=1) / np.sqrt(len(rates))))
    yield Figure(case, "windows", len(rates) * EARLY_WINDOWS, "windows")


def _early_power_cell(cell: Cell, shift: str, rows: int) -> Iterator[Figure]:
    """How often a shift alarms in its first window; rows of README's spec."""
    change = divided("confidence") if shift == "divided_by_30" else new_level("channel", 0.2)
    traffic = readme_traffic(DATA)
    rates = [
        float(np.mean(alarms(traffic, _rng(cell, i), rows, EARLY_WINDOWS, change)))
        for i in range(-(-cell.trials // EARLY_WINDOWS))
    ]
    yield Figure(f"early_power_{shift}_{rows}", "alarm_rate", float(np.mean(rates)))
    yield Figure(f"early_power_{shift}_{rows}", "windows", len(rates) * EARLY_WINDOWS, "windows")


def _irrelevant_cell(cell: Cell, rows: int) -> Iterator[Figure]:
    """Shifts below and above the minimum effect, with so many rows that every shift is significant.

    Rows are drawn as counts per bin.
    """
    for name, size in (("0.7_floor", 0.035), ("1.4_floor", 0.07)):
        alarms: list[bool] = []
        while len(alarms) < cell.trials:
            rng = _rng(cell, name, len(alarms))
            sample = pl.DataFrame({f"x{c}": rng.normal(size=20_000) for c in range(9)})
            known = fit_reference(
                sample, dict.fromkeys(sample.columns, "number"), blocks=np.arange(20_000) * 120 // 20_000, parts=4
            )
            for _ in range(10):
                blocks = tuple(_draw_block(known, rng, rows // 4, 0.0) for _ in range(120))
                profile = replace(known, blocks=blocks)
                window = [_draw_block(known, rng, rows // 4, size) for _ in range(4)]
                seed = int(rng.integers(2**31))
                alarms.append(judge_window(profile, window, "1d", 120, seed, alpha=ALPHA).alarmed)
        yield Figure(f"irrelevant_{rows}", f"alarm_rate_{name}", float(np.mean(alarms)))


def _draw_block(profile: ReferenceProfile, rng: np.random.Generator, rows: int, shift: float) -> BlockProfile:
    """A block of `rows` rows of normal columns, the first of which is shifted."""
    numbers = {}
    for c, (name, bins) in enumerate(profile.coding.numbers.items()):
        below = np.concatenate([[0.0], norm.cdf(bins.edges - (shift if c == 0 else 0.0)), [1.0]])
        counts = rng.multinomial(rows, np.diff(below)).astype(np.int64)
        numbers[name] = NumberCounts(counts, 0, 0.0, float(rows), None, None)
    return BlockProfile(rows, numbers, {})


def _run_length_cell(cell: Cell, name: str) -> Iterator[Figure]:
    found = [run_length(traffics()[name], _rng(cell, i), peers=i % 10 == 0) for i in range(cell.trials)]
    case = f"run_length_{name}"
    days = [f.days for f in found]
    yield Figure(case, "false_alarm_days_per_30", float(np.mean(days)), "days")
    yield Figure(case, "standard_error", float(np.std(days, ddof=1) / np.sqrt(len(days))), "days")
    yield Figure(case, "false_alarm_days_90_percent_point", float(np.quantile(days, 0.9)), "days")
    yield Figure(case, "episodes_per_30", float(np.mean([f.episodes for f in found])), "episodes")
    yield Figure(case, "both_scales_judged", float(np.mean([f.scales == 2 for f in found])))
    yield Figure(case, "median_delay_days", float(np.median([f.delay for f in found])), "days")
    for peer in PEERS:
        theirs = float(np.mean([f.peers[peer] for f in found if f.peers]))
        yield Figure(case, "false_alarm_days_per_30", float(np.mean(days)), "days", peer, theirs)


def _text_cell(cell: Cell, rows: int, full: bool) -> Iterator[Figure]:
    """Five windows after each reference. `standard_error` is over the streams, which hold back different intents."""
    streams = [_stream(cell.seed + i) for i in range(8 if full else 2)]
    for shift in TEXT_SHIFTS:
        count = cell.trials if shift == "none" else cell.trials // 4
        alarms: list[list[bool]] = []
        for s, stream in enumerate(streams):
            rng = _rng(cell, shift, s)
            splits = [stream.split(rng, rows) for _ in range(-(-count // (5 * len(streams))))]
            alarms.append([stream.alarmed(rng, split, shift, rows, ALPHA) for split in splits for _ in range(5)])
        metric = "false_alarm_rate" if shift == "none" else "alarm_rate"
        case = f"text_banking77_{shift}_{rows}"
        yield Figure(case, metric, float(np.mean(alarms)))
        by_stream = np.mean(alarms, axis=1)
        yield Figure(case, "standard_error", float(by_stream.std(ddof=1) / np.sqrt(len(by_stream))))


def _peers_cell(cell: Cell) -> Iterator[Figure]:
    """Share of columns and windows on which `PeerRules` and the peers themselves agree."""
    length = Length(30, 1, 10)
    for name in ("credit", "compas", "credit_bursts"):
        rng = _rng(cell, name)
        reference, windows = draw_trial(traffics()[name], rng, 1000, length)
        profile = fit(traffics()[name], reference)
        others = PeerRules(profile, 1)
        mine = [
            others.verdicts(profile_blocks(w, profile, w[BLOCK].to_numpy() - 4 * (30 + i)))
            for i, w in enumerate(windows)
        ]
        reference, windows = reference.drop(BLOCK), [w.drop(BLOCK) for w in windows]
        theirs = [real_evidently(reference, w, list(profile.coding.numbers)) for w in windows[:4]]
        equal = [m[0][c] == t[c] for m, t in zip(mine, theirs, strict=False) for c in t]
        yield Figure("peers", f"evidently_columns_equal_{name}", float(np.mean(equal)))
        chunks = real_nannyml(reference, windows, cell.peers)
        equal = [m[1].get(c, False) == t[c] for m, t in zip(mine, chunks, strict=True) for c in t]
        yield Figure("peers", f"nannyml_columns_equal_{name}", float(np.mean(equal)))
        any_column = float(np.mean([any(t.values()) for t in chunks]))
        ours = float(np.mean([any(m[1].values()) for m in mine]))
        yield Figure("peers", f"any_column_alarms_{name}", ours, "share", "NannyML 0.13.1", any_column)


def _with_peers(case: str, metric: str, found: Sequence[Outcome], exchangeable: bool) -> Iterator[Figure]:
    ours = float(np.mean([outcome.alarmed for outcome in found]))
    yield Figure(case, metric, ours, exchangeable=exchangeable)
    for peer in PEERS:
        theirs = [outcome.peers[peer] for outcome in found if outcome.peers]
        if theirs:
            yield Figure(case, metric, ours, "share", peer, float(np.mean(theirs)), exchangeable)
