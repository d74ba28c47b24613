"""A month of days under the default budget: false alarms, and days until a shift is detected."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from bench.detect.peers import PeerRules
from bench.detect.traffic import BLOCK, Traffic
from bench.detect.trial import fit, judge_window, spec_of
from monitor.detect.spend_budget import alpha_by_window_length
from monitor.profile.block import BlockProfile, profile_blocks
from monitor.profile.reference_profile import ReferenceProfile

SCALES = ("1d", "7d")
REFERENCE_DAYS, LEAD_DAYS, MONTH_DAYS, ROWS_PER_DAY = 60, 6, 30, 200
SHIFT_STD = 0.3  # standard deviations by which the last number is shifted


@dataclass(frozen=True)
class MonthOfDays:
    """One month. `days`: days with an alarm. `episodes`: runs of such days. `delay`: days from the shift to its first
    alarm, 31 for none. `scales`: window lengths that are judged. `peers`: days with an alarm, of 30.
    """

    days: int
    episodes: int
    delay: int
    scales: int
    peers: Mapping[str, float] = field(default_factory=dict)


def run_length(traffic: Traffic, rng: np.random.Generator, *, peers: bool) -> MonthOfDays:
    """A reference of 60 days, six more days, then a month in which every day and every seventh day's week is judged."""
    total = REFERENCE_DAYS + LEAD_DAYS + MONTH_DAYS
    frame = traffic.draw(rng, total, ROWS_PER_DAY)
    profile = fit(traffic, frame.filter(pl.col(BLOCK) < 4 * REFERENCE_DAYS))
    later = pl.col(BLOCK) >= 4 * REFERENCE_DAYS
    seed = int(rng.integers(2**31))

    def profiled(rows: pl.DataFrame) -> list[BlockProfile]:
        rows = rows.filter(later)
        return list(profile_blocks(rows, profile, rows[BLOCK].to_numpy() - 4 * REFERENCE_DAYS))

    blocks = profiled(frame)
    alarmed = [_has_alarm(traffic, profile, blocks, day, seed) for day in range(LEAD_DAYS, LEAD_DAYS + MONTH_DAYS)]
    episodes = sum(a and not before for a, before in zip(alarmed, [False, *alarmed], strict=False))
    moved = profiled(_shift_month(frame, traffic))
    delay = next(
        (
            d - LEAD_DAYS + 1
            for d in range(LEAD_DAYS, LEAD_DAYS + MONTH_DAYS)
            if _has_alarm(traffic, profile, moved, d, seed)
        ),
        MONTH_DAYS + 1,
    )
    spec = spec_of(SCALES, None, traffic.phases)
    beside: dict[str, float] = {}
    if peers:
        others = PeerRules(profile, 1)
        days = [others.fired(blocks[4 * d : 4 * d + 4]) for d in range(LEAD_DAYS, LEAD_DAYS + MONTH_DAYS, 3)]
        beside = {peer: MONTH_DAYS * float(np.mean([day[peer] for day in days])) for peer in days[0]}
    return MonthOfDays(sum(alarmed), episodes, delay, len(alpha_by_window_length(spec, profile)), beside)


def _has_alarm(traffic: Traffic, profile: ReferenceProfile, blocks: list[BlockProfile], day: int, seed: int) -> bool:
    """Whether a window that ends with this day alarms; the first week ends with the month's first day."""
    for scale, days in (("1d", 1), ("7d", 7)):
        if (day - LEAD_DAYS) % days == 0:
            first = 4 * (day - days + 1)
            window = blocks[first : first + 4 * days]
            decision = judge_window(
                profile, window, scale, 4 * REFERENCE_DAYS + first, seed + day, alpha=None, phases=traffic.phases,
                windows=SCALES,
            )  # fmt: skip
            if decision.alarmed:
                return True
    return False


def _shift_month(frame: pl.DataFrame, traffic: Traffic) -> pl.DataFrame:
    column = next(n for n, kind in reversed(traffic.columns.items()) if kind == "number")
    month = pl.col(BLOCK) >= 4 * (REFERENCE_DAYS + LEAD_DAYS)
    return frame.with_columns(pl.when(month).then(pl.col(column) + SHIFT_STD * pl.col(column).std()).otherwise(column))
