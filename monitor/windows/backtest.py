"""Judge the stored windows of a model under another spec, with the same numbers as a replay under that spec.

Rows, block profiles and the p values of data quality are stored already, so another policy only reads them again. Its
spec must divide rows into the same blocks (`profile_layout`); its windows may be longer or shorter sums of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import select

from monitor import store
from monitor.detect.decide import DriftDecision
from monitor.detect.rules import judge
from monitor.drift import Score, drift_scores
from monitor.profile.block import BlockProfile, empty_profile, merge_all
from monitor.profile.codec import from_bytes
from monitor.profile.reference_profile import ReferenceProfile
from monitor.quality import Volume
from monitor.reference import block_profiles, profile_job
from monitor.reference.choose_rows import watched_columns
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec import false_alarm_budget
from monitor.spec.false_alarm_budget import LIMIT_MONITORS, LimitMonitor
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import block_length
from monitor.tables import ESTIMATED, Measurement, ReferenceRow, StoredProfile, Window
from monitor.windows import concept
from monitor.windows.close import due
from monitor.windows.judge import labelled_rows, seed_of
from monitor.windows.limits import not_judged
from monitor.windows.observed_alarm_rates import LABEL_SCALE, JudgedWindow
from monitor.windows.quality import is_above_floor, quality_readings, volume_from_reading, volume_of

REFERENCE_VERDICTS: Final = ("reference", "no_reference")  # of windows that no policy can judge


def profile_layout(spec: ModelSpec) -> tuple[Any, ...]:
    """What decides the reference and the block profiles of a spec; specs with equal layouts share both."""
    windows = spec.monitors.window_lengths
    blocks = windows.rows if isinstance(windows, RowWindow) else block_length(windows)
    return blocks, spec.baseline, tuple(watched_columns(spec).items())


@dataclass(frozen=True)
class _StoredWindow:
    """The part of a window that does not depend on the policy."""

    scale: str
    number: int
    seqs: tuple[int, int]
    times: tuple[datetime, datetime]
    reason: str | None  # why no policy can judge it
    quality: tuple[Any, ...]  # measurements or readings
    volume: Volume | None  # None for row windows
    effects: Mapping[str, float] = field(default_factory=dict)  # design effects, for the early rule


@dataclass(frozen=True, eq=False)
class StoredHistory:
    """A model's windows, profiles and errors.

    Attributes:
        stream: the state in which the model's error streams were first stored.
    """

    site: Site
    current: CurrentSpec
    row: ReferenceRow
    stream: dict[str, Any] | None
    _stored_windows: dict[str, list[_StoredWindow]] = field(default_factory=dict)
    _scores: dict[tuple[str, int], list[Score]] = field(default_factory=dict)

    def judged_windows(self, spec: ModelSpec, *, changed_at: datetime | None = None) -> list[JudgedWindow]:
        """What drift, data quality, volume and the error streams would have judged under a spec of the same layout.

        Args:
            spec: the policy; its `profile_layout` must equal that of the stored spec.
            changed_at: labels before and after this time are counted apart.
        """
        current = replace(self.current, spec=spec)
        found: list[JudgedWindow] = []
        for scale in spec.monitors.scales:
            windows = self._of_scale(current, scale)
            found += [self._drift(spec, window) for window in windows]
            found += [_quality(spec, window) for window in windows]
            found += [judged for window in windows for judged in _volume(spec, window)]
        return found + list(self._labels(spec, changed_at))

    def recorded_windows(self, changed_at: datetime | None = None) -> list[JudgedWindow]:
        """What drift, data quality, volume and the error streams judged when the windows were closed."""
        spec, found = self.current.spec, list[JudgedWindow]()
        for scale in self._recorded_lengths():
            closed = self._closed(scale)
            for window, _ in closed:
                decision, times = window.decision, (window.from_ts, window.to_ts)
                if not decision["judged"]:
                    found.append(JudgedWindow("drift", scale, *times, reason=_unjudged_reason(decision)))
                    continue
                named = tuple(c["column"] for c in decision["columns"] if c["alarmed"])
                alpha, alarmed = _alpha_or_none(spec, decision["alpha"]), decision["verdict"] == "drift"
                found.append(JudgedWindow("drift", scale, *times, alarmed=alarmed, alpha=alpha, columns=named))
            for window, measured in closed:
                judged = _quality(spec, _stored_window(window, measured))
                named = tuple(
                    dict.fromkeys(m.column or m.metric for m in measured if m.alarm and m.monitor == "quality")
                )
                found.append(replace(judged, alarmed=bool(named), columns=named))
            for window, measured in closed:
                found += _volume(spec, _stored_window(window, measured))
        return found + list(self._labels(spec, changed_at))

    def _recorded_lengths(self) -> list[str]:
        """The declared lengths, and those that earlier references chose from the traffic."""
        query = select(Window.scale).where(Window.model_id == self.current.model.id).distinct().order_by(Window.scale)
        with self.site.database.read() as db:
            return list(dict.fromkeys((*self.current.spec.monitors.scales, *db.scalars(query))))

    def _of_scale(self, current: CurrentSpec, scale: str) -> list[_StoredWindow]:
        if scale not in self._stored_windows:
            known = scale in self.current.spec.monitors.scales
            closed = (
                [_stored_window(*one) for one in self._closed(scale)] if known else list(self._other(current, scale))
            )
            self._stored_windows[scale] = closed
        return self._stored_windows[scale]

    def _closed(self, scale: str) -> list[tuple[Window, list[Any]]]:
        """The stored windows of one length, each with its data-quality and volume measurements."""
        query = (
            select(
                Measurement.window_id, Measurement.monitor, Measurement.metric, Measurement.column, Measurement.value,
                Measurement.reason, Measurement.n, Measurement.n_reference, Measurement.details, Measurement.alarm,
            )
            .join(Window, Window.id == Measurement.window_id)
            .where(
                Window.model_id == self.current.model.id, Window.scale == scale,
                Measurement.monitor.in_(("quality", "volume")),
            )
        )  # fmt: skip
        measured: dict[Any, list[Any]] = {}
        with self.site.database.read() as db:
            for m in db.execute(query):
                measured.setdefault(m.window_id, []).append(m)
            mine = [w for w in store.windows(db, self.current.model.id) if w.scale == scale]
        return [(w, measured.get(w.id, [])) for w in mine]

    def _other(self, current: CurrentSpec, scale: str) -> Iterator[_StoredWindow]:
        """Windows of a length that the stored spec lacks, closed as an evaluation would have closed them."""
        number = 0
        while (window := due(self.site, current, self.row, scale, number)) is not None:
            seqs, times = (window.from_seq, window.to_seq), (window.from_ts, window.to_ts)
            labelled = labelled_rows(self.site, current, window.frame)
            found = quality_readings(self.site, current, self.row, window.from_seq, labelled, window.frame, scale)
            reason = self._reference_verdict(window.from_seq)
            volume = None if reason else volume_of(self.site, current.spec, self.row, window.frame, times)
            yield _StoredWindow(scale, number, seqs, times, reason, tuple(found), volume)
            number += 1

    def _reference_verdict(self, from_seq: int) -> str | None:
        """Why a window that begins here cannot be compared with the reference; None where it can."""
        if self.row.problem is not None:
            return "no_reference"
        return "reference" if self.row.to_seq is None or from_seq < self.row.to_seq else None

    def _drift(self, spec: ModelSpec, window: _StoredWindow) -> JudgedWindow:
        if window.reason is not None:
            return JudgedWindow("drift", window.scale, *window.times, reason=window.reason)
        decision = self._decision(spec, window)
        return JudgedWindow(
            "drift", window.scale, *window.times, alarmed=decision.alarmed, alpha=_alpha_or_none(spec, decision.alpha),
            reason=None if decision.judged else decision.verdict,
            columns=tuple(f.column for f in decision.columns if f.alarmed),
        )  # fmt: skip

    def _decision(self, spec: ModelSpec, window: _StoredWindow) -> DriftDecision:
        assert self.row.artifact is not None  # a window without a reference has a reason
        labels = block_profiles.labels_between(spec, self.row, window.seqs, window.times)
        blocks = [self._blocks.get(label) or self._empty for label in labels]
        scores: list[Score] = []
        if spec.monitors.drift.rule == "thresholds":
            at = window.scale, window.number
            if at not in self._scores:
                self._scores[at] = drift_scores(self._reference, merge_all(blocks))
            scores = self._scores[at]
        seed = seed_of(self.row.artifact, window.scale, window.number)
        return judge(
            spec,
            self._reference,
            window.scale,
            blocks,
            scores,
            first=labels.start,
            seed=seed,
            volume=window.volume,
            early=window.effects if self.row.rule == "early" else None,
        )

    @cached_property
    def _reference(self) -> ReferenceProfile:
        assert self.row.artifact is not None
        return profile_job.load_profile(self.site.artifacts.root, self.row.artifact)

    @cached_property
    def _empty(self) -> BlockProfile:
        return empty_profile(self._reference.coding)

    @cached_property
    def _blocks(self) -> dict[int, BlockProfile]:
        """The profile of all rows of each block, by label."""
        query = select(StoredProfile.label, StoredProfile.data).where(
            StoredProfile.baseline_id == self.row.id, StoredProfile.version == "", StoredProfile.segment == ""
        )
        with self.site.database.read() as db:
            return {label: from_bytes(data, self._reference.coding) for label, data in db.execute(query)}

    @cached_property
    def _history(self) -> concept.History | None:
        return None if self.stream is None else concept.history(self.site, self.current, self.row, self.stream)

    def _labels(self, spec: ModelSpec, changed_at: datetime | None) -> Iterator[JudgedWindow]:
        """Runs of labels without an alarm, and each label that raised one."""
        past = self._history
        if past is None or not past.times:
            return
        lasted = self.row.to_ts - self.row.from_ts if self.row.to_ts and self.row.from_ts else None
        run_length = false_alarm_budget.run_length(spec, rows=self.row.rows or len(past.start), lasted=lasted)
        fired = set(past.alarms(run_length))
        before = len(past.times) if changed_at is None else sum(t <= changed_at for t in past.times)
        ends = sorted({0, before, len(past.times), *fired, *(at + 1 for at in fired)})
        for first, end in pairwise(ends):
            times = past.times[first - 1] if first else past.times[0], past.times[end - 1]
            yield JudgedWindow(
                "concept", LABEL_SCALE, *times, alarmed=first in fired, alpha=1.0 / run_length, count=end - first
            )


def windows_of_declared_limits(site: Site, current: CurrentSpec) -> list[JudgedWindow]:
    """What KPIs, fairness metrics and estimates judged in stored windows, by limits that users declare."""
    query = select(
        Window.scale, Measurement.from_ts, Measurement.to_ts, Measurement.monitor, Measurement.alarm,
        Measurement.value, Measurement.metric, Measurement.details,
    ).join(Window, Window.id == Measurement.window_id).where(
        Measurement.model_id == current.model.id, Measurement.monitor.in_(LIMIT_MONITORS),
        Measurement.segment.in_(("", ESTIMATED)),
    ).order_by(Window.scale, Window.number)  # fmt: skip
    by_window: dict[tuple[LimitMonitor, str, datetime, datetime], list[Any]] = {}
    with site.database.read() as db:
        for m in db.execute(query):
            by_window.setdefault((m.monitor, m.scale, m.from_ts, m.to_ts), []).append(m)
    judged = []
    for (monitor, scale, start, end), found in by_window.items():
        valued = [m for m in found if m.value is not None]
        looked = any(not_judged(m.details) is None for m in valued)
        reason = None if looked else "few_rows" if valued else "no_value"
        named = tuple(dict.fromkeys(m.metric for m in found if m.alarm))
        alpha = None if reason else false_alarm_budget.monitor_alpha(current.spec, monitor, scale) or None
        judged.append(
            JudgedWindow(monitor, scale, start, end, alarmed=bool(named), alpha=alpha, reason=reason, columns=named)
        )
    return judged


def _alpha_or_none(spec: ModelSpec, alpha: float) -> float | None:
    """The budget of a drift test; None for fixed thresholds, which have no false-alarm rate."""
    return None if spec.monitors.drift.rule == "thresholds" else alpha


def _unjudged_reason(decision: dict[str, Any]) -> str:
    verdict = str(decision["verdict"])
    return "reference" if verdict == "collecting_reference" else verdict


def _stored_window(window: Window, measured: Sequence[Any]) -> _StoredWindow:
    reason = _unjudged_reason(window.decision)
    return _StoredWindow(
        window.scale, window.number, (window.from_seq, window.to_seq), (window.from_ts, window.to_ts),
        reason if reason in REFERENCE_VERDICTS else None, tuple(m for m in measured if m.monitor == "quality"),
        next((volume_from_reading(m) for m in measured if m.monitor == "volume"), None),
        window.decision.get("design_effects", {}),
    )  # fmt: skip


def _volume(spec: ModelSpec, window: _StoredWindow) -> Iterator[JudgedWindow]:
    """The volume of a window, judged at the policy's share of the budget; row windows have no volume."""
    if isinstance(spec.monitors.window_lengths, RowWindow):
        return
    if window.volume is None or window.volume.p is None:
        reason = window.reason or ("not_learned" if window.volume is None else "not_tested")
        yield JudgedWindow("volume", window.scale, *window.times, reason=reason)
        return
    alpha = false_alarm_budget.alpha(spec, "volume", window.scale)
    alarmed = window.volume.changed(alpha)
    named = ("volume",) if alarmed else ()
    yield JudgedWindow("volume", window.scale, *window.times, alarmed=alarmed, alpha=alpha, columns=named)


def _quality(spec: ModelSpec, window: _StoredWindow) -> JudgedWindow:
    """The data quality of a window by its stored adjusted p values, judged at the policy's share of the budget."""
    alpha = false_alarm_budget.alpha(spec, "quality", window.scale)
    tested = [m for m in window.quality if m.details["adjusted_p"] is not None]
    if not tested:
        reason = window.reason or ("few_rows" if window.quality else "not_learned")
        return JudgedWindow("quality", window.scale, *window.times, reason=reason)
    named = [
        m.column or m.metric
        for m in tested
        if m.details["adjusted_p"] <= alpha and is_above_floor(m.value, m.details["reference"])
    ]
    return JudgedWindow(
        "quality", window.scale, *window.times, alarmed=bool(named), alpha=alpha, columns=tuple(dict.fromkeys(named))
    )
