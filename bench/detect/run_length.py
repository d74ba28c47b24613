"""A month of days under the default budget: false alarms, and days until a shift is seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from bench.detect.peers import Others
from bench.detect.traffic import BLOCK, Traffic
from bench.detect.trial import fitted, judged, spec_of
from monitor.detect.rules import alpha_by_scale
from monitor.profile.block import BlockProfile, profile_blocks
from monitor.profile.reference_profile import ReferenceProfile

SCALES = ("1d", "7d")
REFERENCE, LEAD, MONTH, ROWS = 60, 6, 30, 200
SHIFT = 0.3  # standard deviations, of the first number


@dataclass(frozen=True)
class Month:
    """`days`: with an alarm; `delay`: days until one with the shift, 31 for none; `peers`: days with an alarm of 30."""

    days: int
    episodes: int
    delay: int
    scales: int
    peers: Mapping[str, float] = field(default_factory=dict)


def run_length(traffic: Traffic, rng: np.random.Generator, *, peers: bool) -> Month:
    """60 days of reference, six more, then a month: each day is judged, and each seventh day the week before it."""
    total = REFERENCE + LEAD + MONTH
    frame = traffic.draw(rng, total, ROWS)
    baseline = fitted(traffic, frame.filter(pl.col(BLOCK) < 4 * REFERENCE))
    later = pl.col(BLOCK) >= 4 * REFERENCE
    seed = int(rng.integers(2**31))

    def profiled(rows: pl.DataFrame) -> list[BlockProfile]:
        rows = rows.filter(later)
        return list(profile_blocks(rows, baseline, rows[BLOCK].to_numpy() - 4 * REFERENCE))

    blocks = profiled(frame)
    alarmed = [_alarms(traffic, baseline, blocks, day, seed) for day in range(LEAD, LEAD + MONTH)]
    episodes = sum(a and not before for a, before in zip(alarmed, [False, *alarmed], strict=False))
    moved = profiled(_moved(frame, traffic))
    delay = next(
        (d - LEAD + 1 for d in range(LEAD, LEAD + MONTH) if _alarms(traffic, baseline, moved, d, seed)), MONTH + 1
    )
    spec = spec_of(SCALES, None, traffic.phases)
    beside: dict[str, float] = {}
    if peers:
        others = Others(baseline, 1)
        days = [others.fired(blocks[4 * d : 4 * d + 4]) for d in range(LEAD, LEAD + MONTH, 3)]
        beside = {peer: MONTH * float(np.mean([day[peer] for day in days])) for peer in days[0]}
    return Month(sum(alarmed), episodes, delay, len(alpha_by_scale(spec, baseline)), beside)


def _alarms(traffic: Traffic, baseline: ReferenceProfile, blocks: list[BlockProfile], day: int, seed: int) -> bool:
    """Whether a window that ends with this day alarms; the first week ends with the first day of the month."""
    for scale, days in (("1d", 1), ("7d", 7)):
        if (day - LEAD) % days == 0:
            first = 4 * (day - days + 1)
            window = blocks[first : first + 4 * days]
            decision = judged(
                baseline, window, scale, 4 * REFERENCE + first, seed + day, alpha=None, phases=traffic.phases,
                windows=SCALES,
            )  # fmt: skip
            if decision.alarmed:
                return True
    return False


def _moved(frame: pl.DataFrame, traffic: Traffic) -> pl.DataFrame:
    column = next(n for n, kind in reversed(traffic.columns.items()) if kind == "number")
    month = pl.col(BLOCK) >= 4 * (REFERENCE + LEAD)
    return frame.with_columns(pl.when(month).then(pl.col(column) + SHIFT * pl.col(column).std()).otherwise(column))
