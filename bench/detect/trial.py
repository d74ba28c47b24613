"""One reference and some windows after it, judged as the service judges them: by `judge` with a spec."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from bench.detect.peers import PeerRules
from bench.detect.traffic import BLOCK, Traffic
from monitor.detect.arrangement import BlockPlan, plan_blocks
from monitor.detect.decide import DriftDecision
from monitor.detect.rules import judge
from monitor.detect.window_layout import window_layout
from monitor.profile.block import BlockProfile, profile_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile
from monitor.quality import Volume, volume
from monitor.spec import false_alarm_budget
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import Monitors
from monitor.spec.parse import parse_spec

QUARTER_S = 21_600
FIRST_MONDAY_LABEL = 4 * 19_002  # label of the first quarter of a Monday, counted from the epoch
Shift = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class Length:
    """Days of reference, days of one window, windows judged after each reference."""

    reference: int
    days: int
    windows: int

    @property
    def scale(self) -> str:
        return f"{self.days}d"


LENGTHS = {"1d": Length(30, 1, 10), "7d": Length(63, 7, 6)}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one window. `changed`: it alarmed, or would have without minimum effects. `unjudged`: number of
    columns left out. `at`: `changed` at other false-alarm rates.
    """

    verdict: str
    changed: bool
    unjudged: int
    quarters: bool
    at: Mapping[float, bool] = field(default_factory=dict)
    peers: Mapping[str, bool] = field(default_factory=dict)

    @property
    def alarmed(self) -> bool:
        return self.verdict == "drift"


@cache
def spec_of(windows: tuple[str, ...] | int, alpha: float | None, phases: str | None = None) -> ModelSpec:
    """A spec that spends `alpha` on drift in each window; without alpha, the default budget."""
    document: dict[str, Any] = {
        "model": "bench", "task": "classification", "owner": "bench@example.com", "purpose": "measure the rule",
        "columns": {"x": {"role": "input", "type": "number"}, "y": {"role": "prediction", "type": "category"}},
        "baseline": {"rows": "first 1000"},
    }  # fmt: skip
    plain = parse_spec(document)
    monitors: dict[str, Any] = {"windows": {"rows": windows} if isinstance(windows, int) else list(windows)}
    if alpha is not None:
        monitors["false_alarms"] = {"alpha": alpha / false_alarm_budget.share(plain, "drift")}
    if phases is not None:
        monitors["phases"] = phases
    return plain.model_copy(update={"monitors": Monitors.model_validate(monitors)})


def fit(traffic: Traffic, frame: pl.DataFrame) -> ReferenceProfile:
    return fit_reference(
        frame.drop(BLOCK), traffic.columns, blocks=FIRST_MONDAY_LABEL + frame[BLOCK].to_numpy(), parts=4
    )


def judge_window(
    profile: ReferenceProfile, blocks: Sequence[BlockProfile], scale: str, first: int, seed: int,
    *, alpha: float | None, phases: str | None = None, windows: tuple[str, ...] | None = None,
) -> DriftDecision:  # fmt: skip
    """Judge by the default path of the service; `first` counts quarters from the first of the reference."""
    spec = spec_of(windows or (scale,), alpha, phases)
    of = _volume(profile, [block.rows for block in blocks], FIRST_MONDAY_LABEL + first)
    return judge(spec, profile, scale, blocks, (), first=FIRST_MONDAY_LABEL + first, seed=seed, volume=of)


def _volume(profile: ReferenceProfile, rows: Sequence[int], first: int) -> Volume:
    """The rows of the window's days and those of the reference's days."""
    known: dict[int, int] = {}
    for label, block in zip(profile.labels, profile.blocks, strict=True):
        known[label // 4] = known.get(label // 4, 0) + block.rows
    now: dict[int, int] = {}
    for at, count in enumerate(rows):
        now[(first + at) // 4] = now.get((first + at) // 4, 0) + count
    return volume(known, now, 4 * QUARTER_S)


def draw_trial(
    traffic: Traffic, rng: np.random.Generator, rows: int, length: Length
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """A reference and the windows that follow it; with another volume, the windows are drawn separately."""
    later = length.days * length.windows
    if traffic.volume == 1.0:
        frame = traffic.draw(rng, length.reference + later, rows)
    else:
        after = traffic.draw(rng, later, round(rows * traffic.volume))
        after = after.with_columns(pl.col(BLOCK) + 4 * length.reference)
        frame = pl.concat([traffic.draw(rng, length.reference, rows), after])
    window = (pl.col(BLOCK) - 4 * length.reference) // (4 * length.days)
    parts = [frame.filter(window == i) for i in range(length.windows)]
    return frame.filter(pl.col(BLOCK) < 4 * length.reference), parts


def judge_all(
    traffic: Traffic, rng: np.random.Generator, rows: int, length: Length, alpha: float,
    *, peers: bool = False, also: Sequence[float] = (), shifts: Mapping[str, Shift] | None = None,
) -> list[tuple[str, Outcome]]:  # fmt: skip
    """Judge every window after one reference, unchanged (shift `none`) or with each of the shifts in turn."""
    reference, windows = draw_trial(traffic, rng, rows, length)
    profile = fit(traffic, reference)
    others = PeerRules(profile, length.days) if peers else None
    found = []
    if shifts is None:
        together = pl.concat(windows)
        every = profile_blocks(together, profile, together[BLOCK].to_numpy() - 4 * length.reference)
        blocks_of = [every[4 * length.days * i : 4 * length.days * (i + 1)] for i in range(length.windows)]
        known = [(i, "none", blocks) for i, blocks in enumerate(blocks_of)]
    else:
        known = []
        for i, window in enumerate(windows):
            first = 4 * (length.reference + i * length.days)
            for name, shift in shifts.items():
                moved = shift(window, rng)
                known.append((i, name, profile_blocks(moved, profile, moved[BLOCK].to_numpy() - first)))
    for i, name, blocks in known:
        first = 4 * (length.reference + i * length.days)
        found.append((name, judge_outcome(traffic, profile, blocks, rng, length, alpha, first, others, also)))
    return found


def judge_outcome(
    traffic: Traffic, profile: ReferenceProfile, blocks: Sequence[BlockProfile], rng: np.random.Generator,
    length: Length, alpha: float, first: int, others: PeerRules | None, also: Sequence[float],
) -> Outcome:  # fmt: skip
    seed = int(rng.integers(2**31))

    def judging(rate: float) -> DriftDecision:
        return judge_window(profile, blocks, length.scale, first, seed, alpha=rate, phases=traffic.phases)

    def plan(rate: float) -> BlockPlan:
        scale = window_layout(spec_of((length.scale,), rate, traffic.phases), length.scale)
        return plan_blocks(profile, scale, rate)

    decision = judging(alpha)

    def at(rate: float) -> bool:
        """`changed` at another rate. Where the plan ranks the same blocks, the known p decides."""
        if decision.judged and decision.p is not None and plan(rate) == plan(alpha):
            if decision.p <= rate:
                return True
            if not decision.alarmed:  # the p of a drift verdict counts changes above their minimum only
                return False
        return _changed(judging(rate))

    return Outcome(
        decision.verdict, _changed(decision), len(decision.unjudged), plan(alpha).quarters,
        {rate: at(rate) for rate in also}, others.fired(blocks) if others else {},
    )  # fmt: skip


def make_bank(
    traffic: Traffic, rng: np.random.Generator, rows: int, count: int
) -> tuple[ReferenceProfile, list[BlockProfile]]:
    """Profiles of many quarters of independent rows, with bins and levels fitted on other rows of the same traffic.

    Windows that are too large to draw row by row in every trial are drawn from these profiles, without replacement.
    """
    sample = traffic.draw(rng, 30, 1200)
    profile = fit(traffic, sample)
    profiles: list[BlockProfile] = []
    while len(profiles) < count:
        frame = traffic.draw(rng, 2, rows)
        profiles += profile_blocks(frame, profile, frame[BLOCK].to_numpy())
    return profile, profiles[:count]


def judge_from_bank(
    traffic: Traffic, bank: tuple[ReferenceProfile, list[BlockProfile]], rng: np.random.Generator, length: Length,
    alpha: float, *, peers: bool = False, also: Sequence[float] = (),
) -> list[Outcome]:  # fmt: skip
    """The same as `judge_all`, from profiles drawn without replacement."""
    known, profiles = bank
    quarters = 4 * (length.reference + length.days * length.windows)
    chosen = [profiles[i] for i in rng.permutation(len(profiles))[:quarters]]
    labels = tuple(range(FIRST_MONDAY_LABEL, FIRST_MONDAY_LABEL + 4 * length.reference))
    profile = replace(known, blocks=tuple(chosen[: 4 * length.reference]), labels=labels)
    others = PeerRules(profile, length.days) if peers else None
    found = []
    for i in range(length.windows):
        first = 4 * (length.reference + i * length.days)
        blocks = chosen[first : first + 4 * length.days]
        found.append(judge_outcome(traffic, profile, blocks, rng, length, alpha, first, others, also))
    return found


def _changed(decision: DriftDecision) -> bool:
    return decision.verdict in ("drift", "changed_below_floor")
