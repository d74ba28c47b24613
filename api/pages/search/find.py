"""What a search finds: a few of each kind, only of models in the caller's scope, and only what the caller may read.

No row about people is searched but by the exact id of an event, and that for whoever may read events. Names in texts of
people (comments, reasons) are not searched.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, false, or_, select
from sqlalchemy.orm import Session

from api.http.reach import seen_ids, seen_subjects
from governance.access.roles import Caller, Permission
from governance.tables import LedgerEntry
from monitor.alerts import store as alert_store
from monitor.site import Site
from monitor.tables import Alert, Dataset, Incident, Model, SpecRevision
from reports.alerts.incident import sees_all, visible
from reports.tables import Report
from retrain.tables import ModelVersion, Run

MIN_CHARS: Final = 2
MAX_CHARS: Final = 200
SHOWN: Final = 8  # of each kind
MODELS_READ: Final = 10  # models whose rows are read for the id of an event
OWN: Final = "The installation"  # where something is about no model
_ID: Final = re.compile(r"[0-9a-fA-F-]{8,36}")


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that was found: where it is, what it is called, and a line about it."""

    path: str
    words: str
    about: str


@dataclass(frozen=True, slots=True)
class Group:
    """What was found of one kind; `more` says that there is more than is shown, `note` what was not searched."""

    words: str
    hits: tuple[Hit, ...]
    more: bool = False
    note: str = ""


def found(site: Site, db: Session, caller: Caller, asked: str) -> list[Group]:
    """The groups that the caller may search, with what was found in each."""
    models = seen_ids(db, caller)
    groups = [kind(db, models, asked) for kind in (_models, _alerts, _incidents, _runs, _versions, _datasets, _reports)]
    if caller.may(Permission.EVENTS_READ):
        groups.append(_events(site, db, caller, asked))
    if caller.may(Permission.LEDGER_READ):
        groups.append(_entries(db, caller, asked))
    return groups


def _cut(words: str, hits: Sequence[Hit]) -> Group:
    return Group(words, tuple(hits[:SHOWN]), len(hits) > SHOWN)


def _within(column: Any, models: list[UUID] | None) -> ColumnElement[bool]:
    wanted: ColumnElement[bool] = column.isnot(None) if models is None else column.in_(models)
    return wanted


def _has(asked: str, *columns: Any) -> ColumnElement[bool]:
    """Every word is in one of the columns."""
    words = asked.split()[:8]
    return and_(*(or_(*(column.icontains(word, autoescape=True) for column in columns)) for word in words))


def _by_id(column: Any, asked: str) -> ColumnElement[bool]:
    """The column is the id that was asked for, or begins with its first eight digits or more."""
    digits = asked.replace("-", "").lower()
    if not _ID.fullmatch(asked) or not 8 <= len(digits) <= 32:
        return false()
    first, last = (UUID(digits.ljust(32, filler)) for filler in "0f")
    return and_(column >= first, column <= last)


def _rows(db: Session, query: Select[*tuple[Any, ...]]) -> list[Any]:
    return list(db.execute(query.limit(SHOWN + 1)))


def _models(db: Session, models: list[UUID] | None, asked: str) -> Group:
    purpose, owner = (SpecRevision.document[name].as_string() for name in ("purpose", "owner"))
    query = (
        select(Model.name, purpose, owner)
        .join(SpecRevision, and_(SpecRevision.model_id == Model.id, SpecRevision.revision == Model.revision))
        .where(_within(Model.id, models), _has(asked, Model.name, purpose, owner))
        .order_by(Model.name)
    )
    hits = [
        Hit(f"/models/{name}", name, f"{what or ''}; owner {who or 'not named'}")
        for name, what, who in _rows(db, query)
    ]
    return _cut("Models", hits)


def _alerts(db: Session, models: list[UUID] | None, asked: str) -> Group:
    own = [] if models is not None else [Alert.model_id.is_(None)]  # of the installation: for callers of all models
    query = (
        select(Alert, Model.name)
        .outerjoin(Model, Model.id == Alert.model_id)
        .where(or_(_within(Alert.model_id, models), *own))
        .where(or_(_by_id(Alert.id, asked), _has(asked, Alert.sentence, Alert.metric, Alert.monitor, Model.name)))
        .order_by(Alert.opened_at.desc(), Alert.id)
    )
    return _cut("Alerts", [
        Hit(f"/alerts/{a.id}", f"{name or OWN}, {a.monitor}, {_at(a.opened_at)}", f"{a.state}: {a.sentence}")
        for a, name in _rows(db, query)
    ])  # fmt: skip


def _incidents(db: Session, models: list[UUID] | None, asked: str) -> Group:
    """Of an incident of several models, the words of alerts that the caller sees are searched and shown, no others."""
    told = (
        select(Alert.incident_id).join(Model, Model.id == Alert.model_id).where(_has(asked, Alert.sentence, Model.name))
    )
    if models is None:
        wanted = or_(_by_id(Incident.id, asked), Incident.id.in_(told), _has(asked, Incident.headline))
        query = select(Incident).where(wanted)
    else:
        wanted = or_(_by_id(Incident.id, asked), Incident.id.in_(told.where(Alert.model_id.in_(models))))
        query = select(Incident).where(alert_store.touches(models), wanted)
    found = []
    for (incident,) in _rows(db, query.order_by(Incident.opened_at.desc(), Incident.id)):
        alerts = alert_store.alerts_of_incident(db, incident.id, models)
        whole = sees_all(db, incident, models)
        headline, _, state = visible(incident, alerts, whole=whole)
        about = incident.model_id if whole else next((a.model_id for a in alerts), incident.model_id)
        name = OWN if about is None else db.get_one(Model, about).name
        found.append(Hit(f"/incidents/{incident.id}", f"{name}, {_at(incident.opened_at)}", f"{state}: {headline}"))
    return _cut("Incidents", found)


def _runs(db: Session, models: list[UUID] | None, asked: str) -> Group:
    query = (
        select(Run, Model.name)
        .join(Model, Model.id == Run.model_id)
        .where(_within(Run.model_id, models))
        .where(
            or_(_by_id(Run.id, asked), _has(asked, Run.state, Run.champion_version, Run.candidate_version, Model.name))
        )
        .order_by(Run.created_at.desc(), Run.id)
    )
    return _cut("Runs", [
        Hit(
            f"/runs/{r.id}", f"{name}, {_at(r.created_at)}",
            f"{r.state.replace('_', ' ')}: {r.champion_version} to {r.candidate_version or 'no candidate yet'}",
        )
        for r, name in _rows(db, query)
    ])  # fmt: skip


def _versions(db: Session, models: list[UUID] | None, asked: str) -> Group:
    query = (
        select(ModelVersion, Model.name)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(
            _within(ModelVersion.model_id, models),
            _has(asked, ModelVersion.version, ModelVersion.base_model, Model.name),
        )
        .order_by(ModelVersion.created_at.desc(), ModelVersion.id)
    )
    return _cut("Versions", [
        Hit(
            f"/models/{name}/versions/{quote(v.version)}", f"{name} {v.version}",
            f"{v.stage}, registered {_at(v.created_at)}",
        )
        for v, name in _rows(db, query)
    ])  # fmt: skip


def _datasets(db: Session, models: list[UUID] | None, asked: str) -> Group:
    digest = asked if asked.startswith("sha256:") else f"sha256:{asked}"
    query = (
        select(Dataset, Model.name)
        .join(Model, Model.id == Dataset.model_id)
        .where(_within(Dataset.model_id, models))
        .where(
            or_(
                _by_id(Dataset.id, asked),
                Dataset.digest.startswith(digest, autoescape=True),
                _has(asked, Dataset.name, Dataset.role, Model.name),
            )
        )
        .order_by(Dataset.created_at.desc(), Dataset.id)
    )
    return _cut("Datasets", [
        Hit(f"/datasets/{d.id}", f"{name}, {d.name}", f"{d.role}, {d.rows:,} rows, {_at(d.created_at)}")
        for d, name in _rows(db, query)
    ])  # fmt: skip


def _reports(db: Session, models: list[UUID] | None, asked: str) -> Group:
    query = (
        select(Report, Model.name)
        .join(Model, Model.id == Report.model_id)
        .where(_within(Report.model_id, models))
        .where(or_(_by_id(Report.id, asked), _has(asked, Report.kind, Report.state, Model.name)))
        .order_by(Report.created_at.desc(), Report.id)
    )
    return _cut("Reports", [
        Hit(
            f"/reports/{r.id}", f"{name}, {r.kind.replace('_', ' ')}",
            f"{r.period_from:%Y-%m-%d} to {r.period_to:%Y-%m-%d}, {r.state}",
        )
        for r, name in _rows(db, query)
    ])  # fmt: skip


def _events(site: Site, db: Session, caller: Caller, asked: str) -> Group:
    """The decision with this very id; rows are read only for a few models, the newest declared first."""
    query = select(Model.name).order_by(Model.created_at.desc(), Model.name)
    names = [name for name in db.scalars(query) if caller.sees(name)]
    read = [name for name in names[:MODELS_READ] if _has_event(site, name, asked)]
    note = f"looked for in the {MODELS_READ} newest of {len(names)} models" if len(names) > MODELS_READ else ""
    hits = [
        Hit(f"/models/{name}/event?{urlencode({'event_id': asked})}", asked, f"a decision of {name}") for name in read
    ]
    return Group("Events", tuple(hits), note=note)


def _has_event(site: Site, model: str, event_id: str) -> bool:
    return site.events.event(model, event_id) is not None


def _entries(db: Session, caller: Caller, asked: str) -> Group:
    """By index, by kind or the beginning of one, or by the thing that an entry is about."""
    subjects = seen_subjects(db, caller)
    query = select(LedgerEntry.index, LedgerEntry.kind, LedgerEntry.subject).order_by(LedgerEntry.index.desc())
    if subjects is not None:
        query = query.where(LedgerEntry.subject.in_(subjects))
    matches: list[ColumnElement[bool]] = [LedgerEntry.kind.startswith(asked.lower().replace(" ", "."), autoescape=True)]
    matches += [
        LedgerEntry.subject == f"{prefix}{asked}"
        for prefix in ("", "model:", "run:", "report:", "key:", "change:", "erasure:")
    ]
    if asked.isascii() and asked.isdecimal() and len(asked) < 10:
        matches.append(LedgerEntry.index == int(asked))
    rows = _rows(db, query.where(or_(*matches)))
    return _cut(
        "Ledger", [Hit(f"/ledger/{index}", f"entry {index}", f"{kind} of {subject}") for index, kind, subject in rows]
    )


def _at(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
