"""What else happened at that time: deploys, specs, promotions, runs, references, volume, and alerts of other models."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from core.figures import count, figure
from monitor import sizes
from monitor.notify import maintenance
from monitor.notify.deploys import LOOK_BACK
from monitor.notify.describe import span
from monitor.notify.tables import Deploy
from monitor.tables import Alert, Measurement, Model, ReferenceRow, SpecRevision, Window
from retrain.tables import ModelVersion, Run

Kind = Literal[
    "deploy", "spec", "promotion", "retirement", "run", "reference", "maintenance", "volume", "alert",
    "alert of another model", "alert of the installation", "deploy of another model",
]  # fmt: skip
MOST_OF_A_KIND: Final = 10
AFTER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that happened near the start of an alert. `link`: path of its page; empty where it has none."""

    at: datetime
    kind: Kind
    model: str | None
    text: str
    when: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is looked at: from two days before it began to the end of the window that it is about."""

    since: datetime
    until: datetime

    @property
    def begin(self) -> datetime:
        return self.since - LOOK_BACK


def span_of(since: datetime, window: Window | None) -> Span:
    return Span(since, max(window.to_ts if window is not None else since, since + AFTER))


def around(
    db: Session, alert: Alert, model: Model | None, window: Window | None, span_: Span,
    seen: Collection[UUID] | None,
) -> tuple[Happened, ...]:  # fmt: skip
    """What else happened, oldest first; at most ten of a kind.

    Args:
        window: that the alert is about.
        seen: ids of the models that the caller may read about; None for all.
    """
    found: list[Happened] = []
    if model is not None:
        found += _deploys(db, model, span_)
        found += _specs(db, model, span_)
        found += _versions(db, model, span_)
        found += _runs(db, model, span_)
        found += _references(db, model, span_)
        found += [
            Happened(
                m.from_ts, "maintenance", model.name, f"maintenance was declared: {m.reason}", _when(m.from_ts, span_)
            )
            for m in maintenance.within(db, model.id, span_.begin, span_.until)
        ]  # fmt: skip
    if window is not None and model is not None:
        found += _volume(db, window, model, span_)
    found += _alerts(db, alert, span_, seen)
    found += _other_deploys(db, alert.model_id, span_, seen)
    return tuple(sorted(found, key=lambda h: h.at))


def _when(at: datetime, span_: Span) -> str:
    if at < span_.since:
        return f"{span(span_.since - at)} before"
    if at - span_.since < timedelta(minutes=1):
        return "as it began"
    return f"{span(at - span_.since)} after it began"


def _deploys(db: Session, model: Model, span_: Span) -> Iterator[Happened]:
    query = select(Deploy).where(Deploy.model_id == model.id, Deploy.at >= span_.begin, Deploy.at <= span_.until)
    for row in db.scalars(query.order_by(Deploy.at.desc()).limit(MOST_OF_A_KIND)):
        yield Happened(
            row.at, "deploy", model.name, f"version {row.version} was deployed", _when(row.at, span_),
            f"/models/{model.name}",
        )  # fmt: skip


def _specs(db: Session, model: Model, span_: Span) -> Iterator[Happened]:
    query = select(SpecRevision.revision, SpecRevision.created_at, SpecRevision.author).where(
        SpecRevision.model_id == model.id,
        SpecRevision.created_at >= span_.begin,
        SpecRevision.created_at <= span_.until,
    )
    for revision, at, author in db.execute(query.order_by(SpecRevision.created_at.desc()).limit(MOST_OF_A_KIND)):
        what = "was declared" if revision == 1 else "came into force"
        text = f"revision {revision} of the spec {what}, by {author}"
        yield Happened(at, "spec", model.name, text, _when(at, span_), f"/models/{model.name}")


def _versions(db: Session, model: Model, span_: Span) -> Iterator[Happened]:
    for column, kind, words in (
        (ModelVersion.promoted_at, "promotion", "was promoted"), (ModelVersion.retired_at, "retirement", "was retired"),
    ):  # fmt: skip
        query = select(ModelVersion.version, column, ModelVersion.run_id).where(
            ModelVersion.model_id == model.id, column >= span_.begin, column <= span_.until
        )
        for version, at, run in db.execute(query.order_by(column.desc()).limit(MOST_OF_A_KIND)):
            link = f"/runs/{run}" if run is not None else f"/models/{model.name}"
            yield Happened(at, kind, model.name, f"version {version} {words}", _when(at, span_), link)  # type: ignore[arg-type]  # one of two


def _runs(db: Session, model: Model, span_: Span) -> Iterator[Happened]:
    query = select(Run).where(Run.model_id == model.id, Run.created_at >= span_.begin, Run.created_at <= span_.until)
    for row in db.scalars(query.order_by(Run.created_at.desc()).limit(MOST_OF_A_KIND)):
        text = f"a retrain began, now {row.state.replace('_', ' ')}"
        yield Happened(row.created_at, "run", model.name, text, _when(row.created_at, span_), f"/runs/{row.id}")


def _references(db: Session, model: Model, span_: Span) -> Iterator[Happened]:
    query = select(ReferenceRow.created_at, ReferenceRow.reason).where(
        ReferenceRow.model_id == model.id,
        ReferenceRow.created_at >= span_.begin,
        ReferenceRow.created_at <= span_.until,
    )
    for at, reason in db.execute(query.order_by(ReferenceRow.created_at.desc()).limit(MOST_OF_A_KIND)):
        text = f"a new reference began: {reason}"
        yield Happened(at, "reference", model.name, text, _when(at, span_), f"/models/{model.name}")


def _volume(db: Session, window: Window, model: Model, span_: Span) -> Iterator[Happened]:
    """A change of volume: what was measured against the reference, or the window before of the same length in time."""
    link = f"/windows/{window.id}"
    query = select(Measurement).where(Measurement.window_id == window.id, Measurement.monitor == "volume")
    measured = db.scalars(query.limit(1)).first()
    ratio = measured.details.get("ratio") if measured is not None else None
    if measured is not None and ratio is not None:
        if sizes.of_factor(ratio) != "small":
            text = (
                f"volume was {figure(ratio)} times what is usual then, {sizes.of_factor(ratio)}: "
                f"{figure(measured.value)} rows per block against {figure(measured.details.get('reference'))}"
            )
            yield Happened(window.from_ts, "volume", model.name, text, _when(window.from_ts, span_), link)
        return
    before = select(Window).where(
        Window.model_id == window.model_id, Window.scale == window.scale, Window.to_ts <= window.from_ts
    )
    earlier = db.scalars(before.order_by(Window.to_ts.desc()).limit(1)).first()
    if earlier is None or not earlier.rows:
        return
    rates = [_rate(earlier), _rate(window)]
    if rates[0] is None or rates[1] is None or not rates[0]:
        return
    factor = rates[1] / rates[0]
    if sizes.of_factor(factor) != "small":
        text = (
            f"volume was {figure(factor)} times that of the window before, {sizes.of_factor(factor)}: "
            f"{count(window.rows)} rows in {span(window.to_ts - window.from_ts)}"
        )
        yield Happened(window.from_ts, "volume", model.name, text, _when(window.from_ts, span_), link)


def _rate(window: Window) -> float | None:
    hours = (window.to_ts - window.from_ts) / timedelta(hours=1)
    return window.rows / hours if hours > 0 else None


def _alerts(db: Session, alert: Alert, span_: Span, seen: Collection[UUID] | None) -> Iterator[Happened]:
    """Alerts, of this model and of others, whose windows share the time from when it began."""
    first, last = aliased(Window), aliased(Window)
    begin = func.coalesce(first.from_ts, Alert.opened_at)
    end = func.coalesce(last.to_ts, Alert.resolved_at, Alert.opened_at)
    query = (
        select(Alert, Model.name, first.from_ts)
        .outerjoin(Model, Model.id == Alert.model_id)
        .outerjoin(first, first.id == Alert.first_window_id)
        .outerjoin(last, last.id == Alert.last_window_id)
        .where(Alert.id != alert.id, begin <= span_.until, end >= span_.since)
    )
    if seen is not None:
        query = query.where(Alert.model_id.in_(seen))
    same_model = Alert.model_id.is_not_distinct_from(alert.model_id)
    for of in (same_model, ~same_model):
        for row, name, began in db.execute(query.where(of).order_by(Alert.opened_at.desc()).limit(MOST_OF_A_KIND)):
            at = _began(began, row)
            same = row.model_id == alert.model_id
            text = f"{row.monitor} alert of {name or 'the installation'}, {row.severity}: {_short(row.sentence)}"
            other: Kind = "alert of the installation" if row.model_id is None else "alert of another model"
            kind: Kind = "alert" if same else other
            yield Happened(at, kind, name, text, _when(at, span_), f"/alerts/{row.id}")


def _began(window: datetime | None, alert: Alert) -> datetime:
    """The start of its first window; an alert of the clock has none, and began when it was opened."""
    return alert.opened_at if window is None else window


def _other_deploys(
    db: Session, model_id: UUID | None, span_: Span, seen: Collection[UUID] | None
) -> Iterator[Happened]:
    query = (
        select(Deploy, Model.name)
        .join(Model, Model.id == Deploy.model_id)
        .where(Deploy.at >= span_.begin, Deploy.at <= span_.until)
    )
    if model_id is not None:
        query = query.where(Deploy.model_id != model_id)
    if seen is not None:
        query = query.where(Deploy.model_id.in_(seen))
    for row, name in db.execute(query.order_by(Deploy.at.desc()).limit(MOST_OF_A_KIND)):
        text = f"version {row.version} of {name} was deployed"
        yield Happened(row.at, "deploy of another model", name, text, _when(row.at, span_), f"/models/{name}")


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= 160 else sentence[:157].rsplit(" ", 1)[0] + " …"
