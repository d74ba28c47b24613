"""Health strips: what a person must know of each model at a glance, for a page of models at once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.orm import Session

from api.pages.overview import store
from core.errors import AppError
from monitor.fairness.grouping import grouped_by
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.model import AUTO_REFERENCE_ROWS, ModelSpec
from monitor.tables import Alert, Measurement, Model, ReferenceRow
from monitor.windows.limits import not_judged
from reports.charts.text import number, utc
from reports.facts.bound import rows_changed_of
from retrain.tables import ModelVersion, Run

Status = Literal["alarm", "unknown", "ok"]
ATTENTION: Final[dict[Status, int]] = {"alarm": 0, "unknown": 1, "ok": 2}


@dataclass(frozen=True, slots=True)
class Standing:
    """What the order and the filters of the list need to know of one model."""

    model: Model
    status: Status
    alerts: store.Unresolved | None
    reference: ReferenceRow | None
    changed: str | None  # what is said if its rows were changed outside Assay

    @property
    def attention(self) -> tuple[int, int, int, str]:
        """What needs attention comes first: changed rows, critical alerts, more alerts, what is not judged."""
        alerts = self.alerts
        return (
            ATTENTION[self.status], -(self.changed is not None), -(alerts.critical if alerts else 0),
            f"{-(alerts.count if alerts else 0):012d}{self.model.name}",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """A measurement of the strip, and how it stands to its limit."""

    m: Measurement
    label: str

    @property
    def status(self) -> Literal["alarm", "unknown", "ok", "info"]:
        if self.m.value is None or not_judged(self.m.details) is not None:
            return "unknown"
        return "alarm" if self.m.alarm else "info" if self.m.limit is None else "ok"

    @property
    def words(self) -> str:
        """What a screen reader says."""
        value = f"not measured: {self.m.reason}" if self.m.value is None else number(self.m.value)
        return f"{self.label} {value}"


@dataclass(frozen=True, slots=True)
class Strip:
    """One model on the overview. `spec` is None where an earlier release stored one that cannot be read."""

    name: str
    status: Status
    sentence: str
    spec: ModelSpec | None = None
    marks: Sequence[store.Mark] = ()
    drift: tuple[str | None, float | None, float | None] = (None, None, None)
    kpis: Sequence[Number] = ()
    fairness: Sequence[Number] = ()
    alerts: Sequence[Alert] = ()
    run: Run | None = None
    champion: ModelVersion | None = None
    scale: str = ""
    counts: store.Unresolved | None = field(default=None)

    @property
    def newest(self) -> store.Mark | None:
        return self.marks[-1] if self.marks else None

    @property
    def usual_rows(self) -> float | None:
        """The median of the windows before the newest one."""
        before = [mark.rows for mark in self.marks[:-1]]
        return median(before) if before else None

    @property
    def marks_words(self) -> str:
        """The marks in words, for who does not see them."""
        if not self.marks:
            return "no window yet"
        said = {"ok": "without an alarm", "alarm": "with an alarm", "unknown": "not judged"}
        found = [f"{n} {words}" for v, words in said.items() if (n := sum(m.verdict == v for m in self.marks))]
        newest = self.marks[-1]
        last = {"ok": "no alarm", "alarm": "an alarm", "unknown": "not judged"}[newest.verdict]
        many = "The last window" if len(self.marks) == 1 else f"The last {len(self.marks)} windows"
        return f"{many} of {self.scale}: {', '.join(found)}; the newest, until {utc(newest.to_ts)}: {last}"


def standings(db: Session, names: Collection[str] | None) -> list[Standing]:
    """How every model of these names stands, or all; what needs attention comes first."""
    models = store.models(db, names)
    ids = [m.id for m in models]
    alerts, references = store.unresolved(db), store.newest_references(db, ids)
    judged, changed = store.judged(db, ids), rows_changed_of(db, models)
    found = []
    for model in models:
        reference = references.get(model.id)
        ready = reference is not None and reference.state == "ready" and model.id in judged
        wrong = model.id in alerts or model.name in changed
        status: Status = "alarm" if wrong else "ok" if ready else "unknown"
        found.append(Standing(model, status, alerts.get(model.id), reference, changed.get(model.name)))
    return sorted(found, key=lambda s: s.attention)


def strips(site: Site, db: Session, wanted: Sequence[Standing]) -> list[Strip]:
    """The strips of a page of models, in its order."""
    ids = [s.model.id for s in wanted]
    specs, unreadable = _specs(site, db, wanted)
    scales: dict[str, list[UUID]] = {}
    for ident, one in specs.items():
        if one.monitors.scales:
            scales.setdefault(finest(one), []).append(ident)
    marks = store.marks(db, scales)
    drift = store.drift(db, [found[-1].id for found in marks.values()])
    places = [place for spec in specs.values() for place in _places(spec)]
    numbers = store.newest_numbers(db, ids, places) if places else {}
    alerts, runs, champions = store.open_alerts(db, ids), store.newest_runs(db, ids), store.champions(db, ids)
    found = []
    for standing in wanted:
        model = standing.model
        if (spec := specs.get(model.id)) is None:
            said = f"It is not judged, because its spec cannot be read: {unreadable[model.id]}. Apply a right one."
            found.append(Strip(model.name, "alarm" if standing.alerts else "unknown", standing.changed or said))
            continue
        mine = marks.get(model.id, [])
        found.append(
            Strip(
                name=model.name, status=standing.status, spec=spec, marks=mine, counts=standing.alerts,
                sentence=_sentence(site, standing, spec, mine, alerts.get(model.id, [])),
                drift=drift.get(mine[-1].id, (None, None, None)) if mine else (None, None, None),
                kpis=_numbers(model.id, "kpi", spec, numbers), fairness=_numbers(model.id, "fairness", spec, numbers),
                alerts=alerts.get(model.id, []), run=runs.get(model.id), champion=champions.get(model.id),
                scale=finest(spec) if spec.monitors.scales else "",
            )
        )  # fmt: skip
    return found


def finest(spec: ModelSpec) -> str:
    """The shortest of the window lengths."""
    scales = spec.monitors.scales
    return scales[0] if len(scales) == 1 else min(scales, key=duration)


def _specs(site: Site, db: Session, wanted: Sequence[Standing]) -> tuple[dict[UUID, ModelSpec], dict[UUID, str]]:
    """The spec in force of each model; or why an earlier release's cannot be read."""
    from monitor.service import RESOLVED, SPECS
    from monitor.spec.parse import parse_spec

    keys = {s.model.id: (s.model.id, s.model.revision) for s in wanted}
    unknown = [model for model, key in keys.items() if site.cache.find(SPECS, key) is None]
    documents = store.documents(db, unknown) if unknown else {}
    found: dict[UUID, ModelSpec] = {}
    faults: dict[UUID, str] = {}
    for standing in wanted:
        model, lengths = standing.model, tuple((standing.reference and standing.reference.windows) or ())
        key = keys[model.id]
        try:
            spec = site.cache.get(SPECS, key, lambda m=model.id: parse_spec(documents[m]))  # type: ignore[misc]
        except (AppError, ValueError) as error:
            faults[model.id] = str(error)
            continue
        if spec.monitors.windows == "auto" and lengths:
            spec = site.cache.get(RESOLVED, (*key, lengths), lambda s=spec, w=lengths: s.with_lengths(w))  # type: ignore[misc]
        found[model.id] = spec
    return found, faults


def _places(spec: ModelSpec) -> list[tuple[str, str, str]]:
    kpis = [("kpi", rule.metric, rule.column or "") for rule in spec.monitors.kpi]
    return [*kpis, *(("fairness", r.name, grouped_by(by)) for r in spec.monitors.fairness for by in r.groupings)]


def _numbers(
    model: UUID, monitor: str, spec: ModelSpec, numbers: dict[tuple[UUID, str, str, str], Measurement]
) -> list[Number]:
    found = []
    for place in _places(spec):
        if place[0] == monitor and (m := numbers.get((model, *place))) is not None:
            label = m.metric.replace("_", " ") + (f" by {m.column}" if monitor == "fairness" else "")
            found.append(Number(m, label if monitor == "fairness" or not m.column else f"{label} of {m.column}"))
    return found


def _sentence(
    site: Site, standing: Standing, spec: ModelSpec, marks: Sequence[store.Mark], alerts: Sequence[Alert]
) -> str:
    """What is wrong and since when, or for how long nothing was."""
    reference = standing.reference
    if standing.changed is not None:
        return standing.changed
    if alerts:
        first = alerts[0]
        return f"Since {utc(_begun(first))}: {first.sentence.rstrip('.')}."
    if reference is None or reference.state == "collecting":
        return _collecting(site, standing, spec)
    if not marks:
        return "No window has closed yet, so nothing is judged."
    if standing.status == "unknown":
        return "Drift is not judged yet: every window so far belongs to the reference, or has too few rows."
    quiet: list[store.Mark] = []
    for mark in reversed(marks):
        if mark.verdict == "alarm":
            break
        quiet.append(mark)
    if not quiet:
        return "The last window raised an alarm that has been resolved."
    unjudged = sum(m.verdict == "unknown" for m in quiet)
    many = "the last window" if len(quiet) == 1 else f"the last {len(quiet)} windows"
    rest = f" {unjudged} of them {'was' if unjudged == 1 else 'were'} not judged." if unjudged else ""
    return f"Quiet: no alarm in {many}, from {utc(quiet[-1].from_ts)} on.{rest}"


def _begun(alert: Alert) -> datetime:
    started = [e["from_ts"] for e in alert.episodes if not e.get("withdrawn") and e.get("from_ts")]
    return datetime.fromisoformat(started[-1]) if started else alert.opened_at


def _collecting(site: Site, standing: Standing, spec: ModelSpec) -> str:
    reference = standing.reference
    if reference is not None and reference.problem is not None:
        return f"Drift is not judged: {reference.problem}."
    seen = site.events.extent(standing.model.name).next_seq - (reference.from_seq if reference is not None else 0)
    if seen <= 0:
        return "No events yet, so nothing is judged."
    wanted = spec.first_rows or (AUTO_REFERENCE_ROWS if spec.fixed_baseline is None else None)
    target = f" of {wanted:,}" if wanted else ""
    return f"The reference is being collected ({seen:,}{target} rows); drift is not judged until it is complete."
