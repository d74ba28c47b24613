"""How often a reference without drift is said to have moved, and how often a move is named.

    python -m bench.moves [--trials N] [--days A,B]

References are drawn from the kinds of traffic of the detection bench, at 200 rows a day. `false_notices`: share of
references in which any column is named though nothing changes. `named_<move>`: share of references in which a column
`contact` is named that goes from 0 % to 100 % of rows at once (`step`), evenly (`climb`), or from 46 % to 5 % (`fall`).

Appends JSON lines to bench/results/detection.jsonl, cases `reference_<traffic>_<days>`.
"""

import argparse
import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from bench.detect.synthetic import synthetic_traffic
from bench.detect.traffic import BLOCK, Tables, Traffic, real_traffic
from core.canonical import timestamp
from monitor.detect.moved_columns import MovedColumn, moved_columns
from monitor.profile.fit_reference import fit_reference

ROOT = Path(__file__).resolve().parents[1]
ROWS_A_DAY = 200
TRAFFICS = (
    "credit", "compas", "credit_bursts", "compas_bursts", "sessions", "day_effect", "regimes", "bots", "weekly_mix",
    "elec2_days", "bike_days",
)  # fmt: skip
MOVED_ON = ("credit", "credit_bursts", "day_effect")
MOVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "step": lambda place: (place >= 0.5).astype(float), "climb": lambda place: place,
    "fall": lambda place: np.where(place >= 0.5, 0.05, 0.46),
}  # fmt: skip


def found(traffic: Traffic, days: int, seed: int, move: str | None) -> tuple[MovedColumn, ...]:
    """The columns that are named in one reference of this traffic, with or without a move of `contact`."""
    rng = np.random.default_rng(seed)
    frame, kinds = traffic.draw(rng, days, ROWS_A_DAY), dict(traffic.columns)
    if move is not None:
        share = MOVES[move](np.arange(frame.height) / frame.height)
        mobile = np.where(rng.random(frame.height) < share, "mobile", "landline")
        frame, kinds = frame.with_columns(pl.Series("contact", mobile)), kinds | {"contact": "category"}
    profile = fit_reference(frame.drop(BLOCK), kinds, blocks=frame[BLOCK].to_numpy(), parts=4)
    return moved_columns(profile, {}, day=4)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--trials", type=int, default=200)
    asked.add_argument("--days", default="5,14,30,56")
    options = asked.parse_args()
    tables = Tables.read(ROOT.parent / "shared" / "data")
    known = {traffic.name: traffic for traffic in [*real_traffic(tables), *synthetic_traffic()]}
    out = ROOT / "bench" / "results" / "detection.jsonl"
    for name in TRAFFICS:
        for days in map(int, options.days.split(",")):
            figures = {"false_notices": None} | ({f"named_{m}": m for m in MOVES} if name in MOVED_ON else {})
            for metric, move in figures.items():
                trials = options.trials if move is None else max(1, options.trials // 4)
                said = [{m.column for m in found(known[name], days, seed, move)} for seed in range(trials)]
                value = float(np.mean([bool(s) if move is None else "contact" in s for s in said]))
                line = {
                    "bench": "detection", "case": f"reference_{name}_{days}", "metric": metric, "value": value,
                    "unit": "share of references", "peer": None, "peer_value": None, "ratio": None,
                    "at": timestamp(datetime.now(UTC)), "machine": platform.node(),
                }  # fmt: skip
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{name} {days} days {metric}: {value:.3f} of {trials}", flush=True)


if __name__ == "__main__":
    main()
