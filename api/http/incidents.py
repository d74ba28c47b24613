"""What callers do about incidents across models, and how far the scope of each reaches, for the API and the pages."""

from uuid import UUID

from sqlalchemy.orm import Session

from api.http.reach import seen_ids
from core.errors import InvalidError
from governance.access.roles import Caller
from governance.access.scopes import require_model
from monitor import store as monitor_store
from monitor.alerts import linking, store
from monitor.site import Site
from monitor.tables import Incident, Model
from reports.alerts.incident import sees_all
from retrain import store as retrain_store


def require_whole(db: Session, caller: Caller, incident_id: UUID) -> None:
    """Raises NotInScopeError: the incident has a model that the caller may not read about."""
    if not sees_all(db, store.incident(db, incident_id), seen_ids(db, caller)):
        require_model(caller, None, f"all of incident {incident_id}")


def link_one(
    site: Site, db: Session, caller: Caller, incident_id: UUID, alert: UUID | None, run: UUID | None,
    deploy: UUID | None, note: str | None,
) -> Incident:  # fmt: skip
    """Link the one thing that is given.

    Raises:
        InvalidError: none or several are given.
        NotInScopeError: it is of a model outside the caller's scope.
    """
    _require_one(alert, run, deploy)
    said = linking.checked_note(note)
    if alert is not None:
        _require(db, caller, monitor_store.alert(db, alert).model_id, f"alert {alert}")
        return linking.link_alert(site, db, incident_id, alert, caller.name, said)
    if run is not None:
        of_run = retrain_store.run(db, run).model_id
        _require(db, caller, of_run, f"run {run}")
        return linking.link(site, db, incident_id, "run", run, of_run, caller.name)
    assert deploy is not None
    of_deploy = linking.deploy_of(db, deploy).model_id
    _require(db, caller, of_deploy, f"deploy {deploy}")
    return linking.link(site, db, incident_id, "deploy", deploy, of_deploy, caller.name)


def unlink_one(
    site: Site, db: Session, caller: Caller, incident_id: UUID, alert: UUID | None, run: UUID | None,
    deploy: UUID | None, note: str | None,
) -> Incident:  # fmt: skip
    """Take back the one link that is given; returns the incident that an alert belongs to then. Raises as above."""
    _require_one(alert, run, deploy)
    said = linking.checked_note(note)
    if alert is not None:
        _require(db, caller, monitor_store.alert(db, alert).model_id, f"alert {alert}")
        return linking.unlink_alert(site, db, incident_id, alert, caller.name, said)
    if run is not None:
        _require(db, caller, retrain_store.run(db, run).model_id, f"run {run}")
        return linking.unlink(site, db, incident_id, "run", run, caller.name)
    assert deploy is not None
    _require(db, caller, linking.deploy_of(db, deploy).model_id, f"deploy {deploy}")
    return linking.unlink(site, db, incident_id, "deploy", deploy, caller.name)


def merge_two(
    site: Site, db: Session, caller: Caller, incident_id: UUID, other: UUID, note: str | None
) -> Incident:  # fmt: skip
    """Merge another incident into one. Raises NotInScopeError where the caller does not see all of both."""
    require_whole(db, caller, incident_id)
    require_whole(db, caller, other)
    return linking.merge(site, db, incident_id, other, caller.name, linking.checked_note(note))


def _require(db: Session, caller: Caller, model_id: UUID | None, what: str) -> None:
    if caller.models is not None:
        require_model(caller, None if model_id is None else db.get_one(Model, model_id).name, what)


def _require_one(alert: UUID | None, run: UUID | None, deploy: UUID | None) -> None:
    given = [name for name, value in (("alert", alert), ("run", run), ("deploy", deploy)) if value is not None]
    if len(given) != 1:
        raise InvalidError(
            f"give one of alert, run and deploy; {'none is' if not given else ' and '.join(given) + ' are'} given",
            field="alert", value=None,
        )  # fmt: skip
