"""Everything that answers the engineer's questions about one alert: what, since when, how bad, why, what now."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from monitor import harm as harms
from monitor.alerts.findings import Standing, findings, standing
from monitor.alerts.headlines import told_window
from monitor.carriers import ForWhom, for_whom
from monitor.finding_tables import AlertFinding
from monitor.notify import tell
from monitor.notify.wording import headline, plain
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import Alert, Model, Window
from reports.alerts.around import Happened, around, span_of
from reports.alerts.next_actions import NextAction, next_actions
from reports.alerts.similar import SimilarAlert, similar


@dataclass(frozen=True, slots=True)
class AlertStory:
    """What is known about an alert.

    `window`: that it is about; None for an alert without one. `spec`: None where there is none, or `spec_problem` says
    why it cannot be read. `known`: findings, the newest first; `why`: where the look for the newest stands.
    """

    headline: str
    since: datetime
    model: Model | None
    window: Window | None
    spec: ModelSpec | None
    spec_problem: str | None
    harm: harms.Harm
    carriers: ForWhom
    why: Standing
    known: tuple[AlertFinding, ...]
    around: tuple[Happened, ...]
    similar: tuple[SimilarAlert, ...]
    next: tuple[NextAction, ...]


def story(site: Site, db: Session, alert: Alert, seen: Collection[UUID] | None) -> AlertStory:
    """What is known about an alert.

    Args:
        seen: ids of the models that the caller may read about; None for all.
    """
    model = None if alert.model_id is None else db.get(Model, alert.model_id)
    spec, problem = (None, None) if model is None else tell.readable_spec(site, db, model.id)
    told = told_window(alert)
    window = None if told is None else db.get(Window, told)
    since = tell.since_of(alert)
    found = harms.harm(db, window, since, spec)
    known = tuple(findings(db, [alert.id])[alert.id])
    why = standing(db, alert, known)
    before = next((k.before.window_id for k in found.kpis if k.before is not None and k.before.realised), None)
    figures = why.row.figures if why.row is not None else {}
    happened = around(db, alert, model, window, span_of(since, window), seen)
    said = headline(tell.announcement(site, db, alert, tell.occasion_now(alert)))
    return AlertStory(
        headline=plain(said), since=since, model=model, window=window, spec=spec, spec_problem=problem, harm=found,
        carriers=for_whom(db, window, before, figures, spec), why=why, known=known, around=happened,
        similar=similar(db, alert, seen), next=next_actions(db, alert, model, happened, explained=why.state == "found"),
    )  # fmt: skip
