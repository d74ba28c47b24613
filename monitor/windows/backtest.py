"""What the rules of a spec would have answered over the windows that are stored: the same numbers as a replay of it.

Rows, profiles and the p values of data quality are there already; another policy is another reading of them. It has to
cut blocks as the stored ones are cut (`cut_of`), and its windows may be longer or shorter sums of them.
"""

from collections.abc import Iterator, Sequence
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
from monitor.reference.collect import watched
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec import budget
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import block_length
from monitor.tables import BaselineRow, Measurement, StoredProfile, Window
from monitor.windows import concept
from monitor.windows.alarm_rates import ON_LABELS, Judged
from monitor.windows.close import due
from monitor.windows.judge import labelled_rows, seed_of
from monitor.windows.quality import matters, quality_readings, volume_measured, volume_of

NO_REFERENCE: Final = ("reference", "no_reference")  # whatever the policy


def cut_of(spec: ModelSpec) -> tuple[Any, ...]:
    """Specs that agree in this have the same baseline and the same profiles."""
    cut = spec.monitors.windows
    blocks = cut.rows if isinstance(cut, RowWindow) else block_length(cut)
    return blocks, spec.baseline, tuple(watched(spec).items())


@dataclass(frozen=True)
class _Span:
    """A window as far as it does not depend on the policy."""

    scale: str
    number: int
    seqs: tuple[int, int]
    times: tuple[datetime, datetime]
    why: str | None  # not judged whatever the policy
    quality: tuple[Any, ...]  # measurements or readings
    volume: Volume | None  # of windows of time


@dataclass(frozen=True, eq=False)
class Stored:
    """A model's windows, profiles and errors; `stream`: the state its error streams were first stored in."""

    site: Site
    current: CurrentSpec
    row: BaselineRow
    stream: dict[str, Any] | None
    _spans: dict[str, list[_Span]] = field(default_factory=dict)
    _scores: dict[tuple[str, int], list[Score]] = field(default_factory=dict)

    def looks(self, spec: ModelSpec, *, changed_at: datetime | None = None) -> list[Judged]:
        """What drift, data quality, volume and the streams of errors would have said under a spec cut like the stored.

        Args:
            changed_at: labels before and after it are not counted together.
        """
        current = replace(self.current, spec=spec)
        found: list[Judged] = []
        for scale in spec.monitors.scales:
            spans = self._of_scale(current, scale)
            found += [self._drift(spec, span) for span in spans]
            found += [_quality(spec, span) for span in spans]
            found += [look for span in spans for look in _volume(spec, span)]
        return found + list(self._labels(spec, changed_at))

    def recorded(self, changed_at: datetime | None = None) -> list[Judged]:
        """What drift, data quality and the streams of errors said when the windows were closed."""
        spec, found = self.current.spec, list[Judged]()
        for scale in spec.monitors.scales:
            closed = self._closed(scale)
            for window, _ in closed:
                decision, times = window.decision, (window.from_ts, window.to_ts)
                if not decision["judged"]:
                    found.append(Judged("drift", scale, *times, why=_why(decision)))
                    continue
                named = tuple(c["column"] for c in decision["columns"] if c["alarmed"])
                alpha, alarmed = _alpha(spec, decision["alpha"]), decision["verdict"] == "drift"
                found.append(Judged("drift", scale, *times, alarmed=alarmed, alpha=alpha, columns=named))
            for window, measured in closed:
                look = _quality(spec, _span(window, measured))
                named = tuple(
                    dict.fromkeys(m.column or m.metric for m in measured if m.alarm and m.monitor == "quality")
                )
                found.append(replace(look, alarmed=bool(named), columns=named))
            for window, measured in closed:
                found += _volume(spec, _span(window, measured))
        return found + list(self._labels(spec, changed_at))

    def _of_scale(self, current: CurrentSpec, scale: str) -> list[_Span]:
        if scale not in self._spans:
            known = scale in self.current.spec.monitors.scales
            closed = [_span(*one) for one in self._closed(scale)] if known else list(self._other(current, scale))
            self._spans[scale] = closed
        return self._spans[scale]

    def _closed(self, scale: str) -> list[tuple[Window, list[Any]]]:
        """Windows of a scale, with the quality and the volume measured in them."""
        query = (
            select(
                Measurement.window_id, Measurement.monitor, Measurement.metric, Measurement.column, Measurement.value,
                Measurement.reason, Measurement.n, Measurement.n_reference, Measurement.details, Measurement.alarm,
            )
            .join(Window, Window.id == Measurement.window_id)
            .where(
                Window.baseline_id == self.row.id, Window.scale == scale,
                Measurement.monitor.in_(("quality", "volume")),
            )
        )  # fmt: skip
        measured: dict[Any, list[Any]] = {}
        with self.site.database.read() as db:
            for m in db.execute(query):
                measured.setdefault(m.window_id, []).append(m)
            mine = [w for w in store.windows(db, self.current.model.id) if w.scale == scale]
        return [(w, measured.get(w.id, [])) for w in mine]

    def _other(self, current: CurrentSpec, scale: str) -> Iterator[_Span]:
        """Windows of a scale the stored spec has not: closed as it would have closed them."""
        number = 0
        while (window := due(self.site, current, self.row, scale, number)) is not None:
            seqs, times = (window.from_seq, window.to_seq), (window.from_ts, window.to_ts)
            labelled = labelled_rows(self.site, current, window.frame)
            found = quality_readings(self.site, current, self.row, window.from_seq, labelled, window.frame, scale)
            why = self._before(window.from_seq)
            volume = None if why else volume_of(self.site, current.spec, self.row, window.frame, times)
            yield _Span(scale, number, seqs, times, why, tuple(found), volume)
            number += 1

    def _before(self, from_seq: int) -> str | None:
        if self.row.problem is not None:
            return "no_reference"
        return "reference" if self.row.to_seq is None or from_seq < self.row.to_seq else None

    def _drift(self, spec: ModelSpec, span: _Span) -> Judged:
        if span.why is not None:
            return Judged("drift", span.scale, *span.times, why=span.why)
        decision = self._decision(spec, span)
        return Judged(
            "drift", span.scale, *span.times, alarmed=decision.alarmed, alpha=_alpha(spec, decision.alpha),
            why=None if decision.judged else decision.verdict,
            columns=tuple(f.column for f in decision.columns if f.alarmed),
        )  # fmt: skip

    def _decision(self, spec: ModelSpec, span: _Span) -> DriftDecision:
        assert self.row.artifact is not None  # a span without a reference says why
        labels = block_profiles.labels_between(spec, self.row, span.seqs, span.times)
        blocks = [self._blocks.get(label) or self._empty for label in labels]
        scores: list[Score] = []
        if spec.monitors.drift.rule == "thresholds":
            at = span.scale, span.number
            if at not in self._scores:
                self._scores[at] = drift_scores(self._baseline, merge_all(blocks))
            scores = self._scores[at]
        seed = seed_of(self.row.artifact, span.scale, span.number)
        return judge(
            spec, self._baseline, span.scale, blocks, scores, first=labels.start, seed=seed, volume=span.volume
        )

    @cached_property
    def _baseline(self) -> ReferenceProfile:
        assert self.row.artifact is not None
        return profile_job.fitted(self.site.artifacts.root, self.row.artifact)

    @cached_property
    def _empty(self) -> BlockProfile:
        return empty_profile(self._baseline.coding)

    @cached_property
    def _blocks(self) -> dict[int, BlockProfile]:
        """Every profile of all rows of a block, by label."""
        query = select(StoredProfile.label, StoredProfile.data).where(
            StoredProfile.baseline_id == self.row.id, StoredProfile.version == "", StoredProfile.segment == ""
        )
        with self.site.database.read() as db:
            return {label: from_bytes(data, self._baseline.coding) for label, data in db.execute(query)}

    @cached_property
    def _history(self) -> concept.History | None:
        return None if self.stream is None else concept.history(self.site, self.current, self.row, self.stream)

    def _labels(self, spec: ModelSpec, changed_at: datetime | None) -> Iterator[Judged]:
        """Stretches of labels without an alarm, and each alarm."""
        past = self._history
        if past is None or not past.times:
            return
        lasted = self.row.to_ts - self.row.from_ts if self.row.to_ts and self.row.from_ts else None
        run_length = budget.run_length(spec, rows=self.row.rows or len(past.start), lasted=lasted)
        fired = set(past.alarms(run_length))
        cut = len(past.times) if changed_at is None else sum(t <= changed_at for t in past.times)
        ends = sorted({0, cut, len(past.times), *fired, *(at + 1 for at in fired)})
        for first, end in pairwise(ends):
            times = past.times[first - 1] if first else past.times[0], past.times[end - 1]
            yield Judged(
                "concept", ON_LABELS, *times, alarmed=first in fired, alpha=1.0 / run_length, count=end - first
            )


def declared_looks(site: Site, current: CurrentSpec) -> list[Judged]:
    """What KPIs and fairness said in the windows that are stored: limits of their own, and no budget."""
    query = select(
        Window.scale, Measurement.from_ts, Measurement.to_ts, Measurement.monitor, Measurement.alarm,
        Measurement.value, Measurement.metric,
    ).join(Window, Window.id == Measurement.window_id).where(
        Measurement.model_id == current.model.id, Measurement.monitor.in_(("kpi", "fairness")),
        Measurement.segment == "",
    ).order_by(Window.scale, Window.number)  # fmt: skip
    by_window: dict[tuple[str, str, datetime, datetime], list[Any]] = {}
    with site.database.read() as db:
        for m in db.execute(query):
            by_window.setdefault((m.monitor, m.scale, m.from_ts, m.to_ts), []).append(m)
    looks = []
    for (monitor, scale, start, end), found in by_window.items():
        why = None if any(m.value is not None for m in found) else "no_value"
        named = tuple(dict.fromkeys(m.metric for m in found if m.alarm))
        looks.append(Judged(monitor, scale, start, end, alarmed=bool(named), why=why, columns=named))
    return looks


def _alpha(spec: ModelSpec, alpha: float) -> float | None:
    """A fixed threshold has no false-alarm rate."""
    return None if spec.monitors.drift.rule == "thresholds" else alpha


def _why(decision: dict[str, Any]) -> str:
    verdict = str(decision["verdict"])
    return "reference" if verdict == "collecting_reference" else verdict


def _span(window: Window, measured: Sequence[Any]) -> _Span:
    why = _why(window.decision)
    return _Span(
        window.scale, window.number, (window.from_seq, window.to_seq), (window.from_ts, window.to_ts),
        why if why in NO_REFERENCE else None, tuple(m for m in measured if m.monitor == "quality"),
        next((volume_measured(m) for m in measured if m.monitor == "volume"), None),
    )  # fmt: skip


def _volume(spec: ModelSpec, span: _Span) -> Iterator[Judged]:
    """The window's volume under a policy's part of the budget; windows of rows have none."""
    if isinstance(spec.monitors.windows, RowWindow):
        return
    if span.volume is None or span.volume.p is None:
        why = span.why or ("not_learned" if span.volume is None else "not_tested")
        yield Judged("volume", span.scale, *span.times, why=why)
        return
    alpha = budget.alpha(spec, "volume", span.scale)
    alarmed = span.volume.changed(alpha)
    named = ("volume",) if alarmed else ()
    yield Judged("volume", span.scale, *span.times, alarmed=alarmed, alpha=alpha, columns=named)


def _quality(spec: ModelSpec, span: _Span) -> Judged:
    """The window's p values, adjusted when they were measured, under a policy's part of the budget."""
    alpha = budget.alpha(spec, "quality", span.scale)
    tested = [m for m in span.quality if m.details["adjusted_p"] is not None]
    if not tested:
        why = span.why or ("few_rows" if span.quality else "not_learned")
        return Judged("quality", span.scale, *span.times, why=why)
    named = [
        m.column or m.metric
        for m in tested
        if m.details["adjusted_p"] <= alpha and matters(m.value, m.details["reference"])
    ]
    return Judged(
        "quality", span.scale, *span.times, alarmed=bool(named), alpha=alpha, columns=tuple(dict.fromkeys(named))
    )
