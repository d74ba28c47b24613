"""Declare a model, change its spec and begin a new reference; light enough for the API to load at start-up."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import queue
from core.cache import CacheKind
from core.errors import ConflictError
from governance.ledger.append import append_entry
from governance.policy.tiers import Tier, asked
from monitor import store
from monitor.events.columns import DELTA_TYPES
from monitor.reasons.record import table_changes
from monitor.site import Site
from monitor.spec.duration import duration
from monitor.spec.forecast import Forecast, forecasts
from monitor.spec.loosening import Loosening, loosenings
from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError, parse_spec
from monitor.spec.times import DAY
from monitor.tables import Model, ReferenceRow, SpecRevision

SPECS: Final = CacheKind[tuple[UUID, int], ModelSpec]("specs by model and revision", most=10_000)
RESOLVED: Final = CacheKind[tuple[UUID, int, tuple[str, ...]], ModelSpec](
    "specs by model, revision and chosen window lengths", most=1_000
)
MIN_TRAFFIC: Final = timedelta(hours=1)  # a shorter time shows no rate


@dataclass(frozen=True, slots=True)
class Applied:
    model_id: UUID
    revision: int
    outcome: Literal["created", "changed", "unchanged"]
    judged_again: int = 0  # windows that will be judged again under this revision, beside the verdicts given


@dataclass(frozen=True, slots=True)
class Loosened:
    """What a new spec loosens; `needed`: people that must agree to it before it is in force."""

    found: tuple[Loosening, ...]
    needed: int


class LoosenedError(ConflictError):
    code = "needs_approval"

    def __init__(self, model: str, loosened: Loosened) -> None:
        fields = ", ".join(one.field for one in loosened.found)
        super().__init__(
            f"the new spec of {model} loosens {fields}, to which {loosened.needed} other people must agree",
            model=model, loosened=[one.record() for one in loosened.found],
        )  # fmt: skip
        self.loosened = loosened


@dataclass(frozen=True, slots=True)
class CurrentSpec:
    model: Model
    revision: int
    spec: ModelSpec


def apply_spec(site: Site, db: Session, spec: ModelSpec, author: str, *, agreed: bool = False) -> Applied:
    """Declare a model or change its spec; every change is a new revision and a ledger entry with both digests.

    Args:
        agreed: people have agreed to what it loosens, or only its effect is looked at.

    Raises:
        LoosenedError: the change loosens something to which people must agree first.
        SpecError: a metric does not exist or does not fit the spec, or a stored column would change its type.
    """
    from monitor.metric_names import check_metrics  # loads the catalogues, and numpy with them

    check_metrics(spec)
    _check_channels(site, spec)
    now = site.clock.now()
    model = db.scalars(select(Model).where(Model.name == spec.model).with_for_update()).first()
    before: str | None = None
    outcome: Literal["created", "changed"] = "created"
    found: list[str] = []
    if model is None:
        model = Model(name=spec.model, revision=1, created_at=now)
        db.add(model)
        db.flush()
    else:
        current = store.spec_revision(db, model.id, model.revision)
        if current.digest == spec.digest:
            return Applied(model.id, model.revision, "unchanged")
        _check_stored(site, db, model, spec)
        _check_reason_table(site, db, model, spec)
        loosened = loosened_by(site, db, model, spec)
        if loosened.needed and not agreed:
            raise LoosenedError(spec.model, loosened)
        found = [one.field for one in loosened.found]
        before, outcome = current.digest, "changed"
        model.revision += 1
    _check_part(db, spec)
    db.add(
        SpecRevision(
            model_id=model.id, revision=model.revision, digest=spec.digest, document=spec.document, author=author,
            created_at=now,
        )
    )  # fmt: skip
    append_entry(
        db, kind="model.spec", actor=author, subject=f"model:{spec.model}", at=now,
        body={"revision": model.revision, "digest": spec.digest, "previous": before, "loosened": found},
    )  # fmt: skip
    if outcome == "created":
        open_reference(site, db, model.id, reason="model declared")
    else:
        _renew_reference(site, db, model, spec)
        queue.hurry(db, f"monitor:{spec.model}", now)  # what was put off may fit into its limits now
    return Applied(model.id, model.revision, outcome, _windows_to_judge_again(site, db, model, spec))


def loosened_by(site: Site, db: Session, model: Model, spec: ModelSpec) -> Loosened:
    """What a spec loosens of the one in force, and how many people must agree by the stricter tier of the two."""
    present = spec_of(site, db, model.id, model.revision)
    found = loosenings(present, spec)
    needed = max(tier_of_spec(one).loosening for one in (present, spec))
    return Loosened(found, needed if found else 0)


def tier_of_spec(spec: ModelSpec) -> Tier:
    """What a spec's tier and retraining policy ask for."""
    return asked(spec.risk, spec.retrain.approval if spec.retrain is not None else "none")


def _windows_to_judge_again(site: Site, db: Session, model: Model, spec: ModelSpec) -> int:
    """Windows of the reference in force whose verdicts were given under a spec that judges otherwise."""
    row = store.newest_reference(db, model.id)
    if row is None:
        return 0
    found = store.windows_by_revision(db, row.id, kept_since(spec, site.clock.now()))
    wanted = judging_inputs(spec)
    return sum(n for r, n in found.items() if judging_inputs(spec_of(site, db, model.id, r)) != wanted)


@dataclass(frozen=True, slots=True)
class Previewed:
    """What applying a spec would do. `forecast`: at the model's rate, or at several rates where none is known."""

    revision: int
    outcome: Literal["created", "changed", "unchanged"]
    judged_again: int
    forecast: tuple[Forecast, ...]


def preview_spec(site: Site, db: Session, spec: ModelSpec, author: str) -> Previewed:
    """What `apply_spec` would do; nothing is stored.

    Raises:
        SpecError: as `apply_spec`.
    """
    rate = _rows_per_day(site, spec.model)
    nested = db.begin_nested()
    try:
        applied = apply_spec(site, db, spec, author, agreed=True)
    finally:
        nested.rollback()
    return Previewed(applied.revision, applied.outcome, applied.judged_again, forecasts(spec, rows_per_day=rate))


def _rows_per_day(site: Site, model: str) -> float | None:
    """The mean rate of a model's traffic in event time; None without an hour of it."""
    extent = site.events.extent(model)
    if extent.first_ts is None or extent.last_ts is None or extent.last_ts - extent.first_ts < MIN_TRAFFIC:
        return None
    return extent.rows / ((extent.last_ts - extent.first_ts) / DAY)


def _check_channels(site: Site, spec: ModelSpec) -> None:
    """Refuse a channel that is not set, where channels are set: its messages would go elsewhere.

    Raises:
        SpecError: names each such channel.
    """
    known, named = site.settings.channels, (spec.notify and spec.notify.channels) or ()
    reason = f"is no channel of this installation; it has {', '.join(sorted(known))}"
    problems = [
        {"field": f"notify.channels[{place}]", "value": name, "reason": reason}
        for place, name in enumerate(named)
        if known and name not in known
    ]
    if problems:
        first = problems[0]
        raise SpecError(f"spec field {first['field']}: {first['value']!r} {first['reason']}", problems=problems)


def _check_part(db: Session, spec: ModelSpec) -> None:
    """Refuse a second model for one part of a whole: what got worse there would start the runs of both.

    Raises:
        SpecError: names the other model.
    """
    if spec.part_of is None:
        return
    own = spec.part_of.model_dump(mode="json")
    for other, document in store.models_with_specs(db):
        if other.name != spec.model and document.get("part_of") == own:
            reason = f"is {spec.part_of.agent!r}, and {other.name} is that part of {spec.part_of.model} already"
            problem = {"field": "part_of.agent", "value": spec.part_of.agent, "reason": reason}
            raise SpecError(
                f"spec field part_of.agent: {reason}; name another agent, or take part_of out of {other.name}",
                problems=[problem],
            )


def _check_stored(site: Site, db: Session, model: Model, spec: ModelSpec) -> None:
    """Refuse a new type for a column whose values are stored, because a table never changes the type of a column.

    Raises:
        SpecError: names each such column.
    """
    if not site.events.extent(model.name).rows:
        return
    stored: dict[tuple[bool, str], tuple[str, int]] = {}
    for revision in range(1, model.revision + 1):
        columns = parse_spec(store.spec_revision(db, model.id, revision).document).columns
        for name, column in columns.items():
            stored.setdefault((column.role == "outcome", name), (column.type, revision))
    problems = []
    for name, column in spec.columns.items():
        kind, since = stored.get((column.role == "outcome", name), (column.type, 0))
        if DELTA_TYPES[kind] != DELTA_TYPES[column.type]:
            reason = f"is stored as {kind} since revision {since}; give the new column another name"
            problems.append({"field": f"columns.{name}.type", "value": column.type, "reason": reason})
    if problems:
        first = problems[0]
        raise SpecError(f"spec field {first['field']}: {first['value']!r} {first['reason']}", problems=problems)


def _check_reason_table(site: Site, db: Session, model: Model, spec: ModelSpec) -> None:
    """Refuse other reasons in plain language under a version that stood for others: notices quote the version.

    Raises:
        SpecError: tells what changed.
    """
    if spec.reasons is None:
        return
    table = spec.reasons.reason_table
    for revision in range(model.revision, 0, -1):
        before = spec_of(site, db, model.id, revision).reasons
        if before is None or before.table.version != table.version or before.reason_table.digest == table.digest:
            continue
        changes = "; ".join(table_changes(before.reason_table, table))
        reason = f"is {table.version!r}, which stood for other reasons in revision {revision} ({changes[:500]})"
        problem = {"field": "reasons.table.version", "value": table.version, "reason": reason}
        raise SpecError(f"spec field reasons.table.version: {reason}; give a new version", problems=[problem])


def _renew_reference(site: Site, db: Session, model: Model, spec: ModelSpec) -> None:
    """Begin a new reference where the current one does not fit the spec; changed ranges are only learned again."""
    before = parse_spec(store.spec_revision(db, model.id, model.revision - 1).document)
    if _reference_inputs(before) != _reference_inputs(spec):
        open_reference(site, db, model.id, reason=f"spec revision {model.revision} changed columns or baseline")
    elif before.columns != spec.columns:
        row = store.newest_reference(db, model.id)
        assert row is not None  # every model has one from its first spec on
        row.quality, row.quality_labels = None, False
        if before.target != spec.target:  # what was learned from another outcome is learned again
            row.estimator, row.estimator_labels, row.estimator_reason, row.concept = None, 0, None, None


def _reference_inputs(spec: ModelSpec) -> tuple[Any, ...]:
    unread = {"min": None, "max": None, "predicts": None}
    columns = {name: column.model_copy(update=unread) for name, column in spec.columns.items()}
    return spec.baseline, columns, spec.monitors.windows  # as declared: auto stays auto


def judging_inputs(spec: ModelSpec) -> tuple[Any, ...]:
    """What decides how a window is judged against a given reference."""
    columns = {name: column.model_copy(update={"predicts": None}) for name, column in spec.columns.items()}
    return spec.monitors, columns, spec.target


def kept_since(spec: ModelSpec, now: datetime) -> datetime | None:
    """Start of the first day whose rows retention keeps; None where all are kept."""
    if spec.retention is None:
        return None
    return datetime.combine((now - duration(spec.retention)).date(), time(), UTC)


def current_spec(site: Site, db: Session, model_name: str) -> CurrentSpec:
    """The spec of a model that is in force.

    Raises:
        ModelNotFoundError: no model has this name.
    """
    return in_force(site, db, store.model(db, model_name))


def in_force(site: Site, db: Session, model: Model) -> CurrentSpec:
    """The model's newest spec, with the window lengths that its newest reference has chosen in place of `auto`."""
    return spec_for(site, db, model, model.revision, store.newest_reference(db, model.id))


def spec_for(site: Site, db: Session, model: Model, revision: int, row: ReferenceRow | None) -> CurrentSpec:
    """One revision of a model's spec, with the window lengths of a reference in place of `windows: auto`.

    There are no lengths while the reference has not chosen them, and no window closes.
    """
    spec = spec_of(site, db, model.id, revision)
    if spec.monitors.windows != "auto" or row is None or not row.windows:
        return CurrentSpec(model, revision, spec)
    lengths = tuple(row.windows)
    return CurrentSpec(
        model, revision, site.cache.get(RESOLVED, (model.id, revision, lengths), lambda: spec.with_lengths(lengths))
    )


def spec_of(site: Site, db: Session, model_id: UUID, revision: int) -> ModelSpec:
    """One revision of a model's spec. A revision never changes, so a process parses each one once."""
    return site.cache.get(
        SPECS, (model_id, revision), lambda: parse_spec(store.spec_revision(db, model_id, revision).document)
    )


def open_reference(site: Site, db: Session, model_id: UUID, *, reason: str) -> ReferenceRow:
    """Begin a new reference with the next event; windows are counted anew from there.

    Args:
        reason: why it begins; shown with the gap between two references.
    """
    model = db.get_one(Model, model_id)
    before = store.newest_reference(db, model_id)
    row = ReferenceRow(
        model_id=model_id, spec_revision=model.revision, reason=reason,
        arrivals=before.arrivals if before is not None else None,  # arrivals belong to the feed, not to the version
        from_seq=site.events.extent(model.name).next_seq, created_at=site.clock.now(),
    )  # fmt: skip
    db.add(row)
    db.flush()
    return row
