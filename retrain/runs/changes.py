"""Apply a spec, or let it wait where it loosens something to which people must agree; agree to one, reject one."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from governance.access.roles import Caller
from governance.access.signers import signer
from governance.policy import changes
from governance.tables import ChangeRequest
from monitor import store
from monitor.service import Applied, LoosenedError, apply_spec, preview_spec
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from monitor.tables import Model
from retrain.registry.versions import check_applicable, ensure_base_version
from retrain.runs.approve import rules_changed


@dataclass(frozen=True, slots=True)
class Waits:
    """A change that waits: the spec in force stays as it is."""

    request: ChangeRequest
    revision: int


def apply_or_ask(site: Site, db: Session, spec: ModelSpec, caller: Caller) -> Applied | Waits:
    """Apply a spec at once where it loosens nothing that people must agree to; otherwise keep it until they do.

    Raises:
        What `apply_spec` and `ensure_base_version` raise, without LoosenedError.
    """
    try:
        return _apply(site, db, spec, caller.name, agreed=False)
    except LoosenedError as error:
        loosened = error.loosened
    preview_spec(site, db, spec, caller.name)  # what could never be applied is not asked for
    if spec.retrain is not None:
        check_applicable(site, db, spec.model, spec)
    model = _held(db, spec.model)
    who = signer(db, caller.name, caller.prefix, caller.owner)
    base = store.spec_revision(db, model.id, model.revision).digest
    row = changes.ask(
        db, spec.model, spec.document, base, [one.record() for one in loosened.found], who, needed=loosened.needed,
        now=site.clock.now(),
    )  # fmt: skip
    return Waits(row, model.revision)


def agree(site: Site, db: Session, model_name: str, change_id: UUID, caller: Caller, reason: str) -> ChangeRequest:
    """Agree to a change; the last person who is needed puts it into force.

    Raises:
        ChangeNotFoundError, ChangeStateError, ApprovalRefusedError, InvalidError, IntegrityFailureError.
        What `apply_spec` raises, where the spec does not fit any more.
    """
    model = _held(db, model_name)
    row = changes.change(db, model_name, change_id, lock=True)
    who = signer(db, caller.name, caller.prefix, caller.owner)
    base = store.spec_revision(db, model.id, model.revision).digest
    if changes.approve(db, row, who, reason, site.clock.now(), base=base):
        _apply(site, db, parse_spec(row.document), row.asked_by, agreed=True)
    return row


def reject(site: Site, db: Session, model_name: str, change_id: UUID, caller: Caller, reason: str) -> ChangeRequest:
    """Raises ChangeNotFoundError, ChangeStateError, InvalidError."""
    row = changes.change(db, model_name, change_id, lock=True)
    who = signer(db, caller.name, caller.prefix, caller.owner)
    changes.reject(db, row, who, reason, site.clock.now())
    return row


def _apply(site: Site, db: Session, spec: ModelSpec, author: str, *, agreed: bool) -> Applied:
    applied = apply_spec(site, db, spec, author, agreed=agreed)
    if spec.retrain is not None:
        model = store.model(db, spec.model)
        ensure_base_version(site, db, model, spec, author)
        rules_changed(site, db, model, author)
    return applied


def _held(db: Session, name: str) -> Model:
    return db.get_one(Model, store.model(db, name).id, with_for_update=True)
