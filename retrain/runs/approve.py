"""Approve or reject a run, and promote it by hand."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from core import queue
from core.jobs import RunJob
from governance.access.roles import Caller
from governance.access.signers import Signer, signer_line
from governance.policy.stops import refuse_while_stopped
from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.errors import ApprovalError, EnvelopeError, NotGatedError, RulesChangedError, RunStateError
from retrain.registry.promotion import promote_run
from retrain.registry.standing import ATTESTED, standing_of
from retrain.registry.versions import reject_candidate
from retrain.runs.deciding import approval_refused, attestation_refused, person_of, unnamed
from retrain.runs.record import record_run
from retrain.runs.waiting import allow, wait
from retrain.tables import Run


def approve_run(site: Site, db: Session, run_id: UUID, caller: Caller, reason: str) -> Run:
    """Record an approval by the person who holds the caller's key. The last required approval promotes the candidate.

    Where the run waits outside its limits, the approval allows them for this run, once, and it goes on.

    Raises:
        RunNotFoundError, RunStateError: no such run, or it does not wait for approval.
        ApprovalError: the key has no owner, nor has the one that started the run, the owner started the run or has
            approved it already, or the reason is empty.
        NotGatedError: nothing may be promoted under the spec in force.
        ModelStoppedError: the model is stopped; an approval is given once the stop is lifted.
    """
    run = _waiting(db, run_id)
    if not reason.strip():
        raise ApprovalError("an approval needs a reason; say what you checked", field="reason")
    model = db.get_one(Model, run.model_id, with_for_update=True)  # before the ledger's head, as everywhere
    refuse_while_stopped(db, model.name, f"an approval of run {run_id}")
    who = _person(db, caller)
    found = standing_of(db, run, site.clock.now())
    if blocked := found.rules.blocked():
        raise NotGatedError(run.candidate_version or "", blocked)
    if why := approval_refused(run, found, who):
        raise ApprovalError(why, actor=who.actor)
    if run.outside:
        return allow(site, db, run, who, reason)
    given = signer_line(who) | {
        "at": site.clock.now().isoformat(), "reason": reason, "spec_revision": model.revision,
        "terms": found.rules.terms, "covers": found.covers,
    }  # fmt: skip
    body = signer_line(who) | {
        "reason": reason, "given": len(found.counted.by) + 1, "needed": found.rules.approvals,
        "spec_revision": model.revision, "terms": found.rules.terms, "covers": found.covers,
    }  # fmt: skip
    record_run(site, db, run, "run.approved", caller.name, body)
    run.approvals = [*run.approvals, given]
    after = standing_of(db, run, site.clock.now())
    if not after.missing_people:
        names = ", ".join(s.named for s in after.counted.by)
        promote_or_judge_again(site, db, run, caller.name, reason=f"approved by {names}")
    return run


def attest_run(site: Site, db: Session, run_id: UUID, caller: Caller, statement: str, evidence: str) -> Run:
    """Record a validator's statement about a candidate; with it the last thing that was missing may be there.

    Args:
        statement: what was validated, and what was found.
        evidence: where it can be looked up: the digest, address or number of a document.

    Raises:
        RunNotFoundError, RunStateError: no such run, or it does not wait for approval.
        ApprovalError: the key has no owner, its owner started or approved the run or attested already, the run waits
            outside its limits, or statement or evidence is empty.
        ModelStoppedError: the model is stopped.
    """
    run = _waiting(db, run_id)
    for field, text in (("statement", statement), ("evidence", evidence)):
        if not text.strip():
            raise ApprovalError(
                f"the {field} is empty; say what you validated, and where that can be read", field=field
            )
    model = db.get_one(Model, run.model_id, with_for_update=True)
    refuse_while_stopped(db, model.name, f"an attestation of run {run_id}")
    who, found = _person(db, caller), standing_of(db, run, site.clock.now())
    if why := attestation_refused(run, found, who):
        raise ApprovalError(why, actor=who.actor)
    body = signer_line(who) | {
        "statement": statement.strip(), "evidence": evidence.strip(), "spec_revision": model.revision,
        "terms": found.rules.terms, "covers": found.covers,
    }  # fmt: skip
    record_run(site, db, run, ATTESTED, caller.name, body)
    after = standing_of(db, run, site.clock.now())
    if not after.missing_people:
        promote_or_judge_again(site, db, run, caller.name, reason=f"attested by {who.named}")
    return run


def promote_or_judge_again(site: Site, db: Session, run: Run, actor: str, reason: str) -> None:
    """Promote a run, or have its gates judged again first where the rules have changed since.

    Raises:
        What `promote_run` raises, without RulesChangedError and EnvelopeError.
    """
    try:
        promote_run(site, db, run.id, actor, reason)
    except EnvelopeError as error:
        wait(site, db, run, error.checks)
    except RulesChangedError:
        _judge_again(site, db, run, actor)


def rules_changed(site: Site, db: Session, model: Model, actor: str) -> None:
    """Have the gates of a run that waits for approval judged under the spec just applied, before people decide."""
    run = store.open_run(db, model.id)
    if run is None or run.state != "awaiting_approval" or run.outside:
        return
    found = standing_of(db, run)
    if found.stale and not found.rules.blocked():
        _judge_again(site, db, run, actor)


def _judge_again(site: Site, db: Session, run: Run, actor: str) -> None:
    model = db.get_one(Model, run.model_id)
    run.state = "evaluating"
    record_run(site, db, run, "run.judged_again", actor, {"rules": standing_of(db, run).rules.document()})
    queue.enqueue(
        db, RunJob(run_id=run.id), now=site.clock.now(), dedupe_key=f"run:{run.id}", lock_key=f"train:{model.name}"
    )


def reject_run(site: Site, db: Session, run_id: UUID, caller: Caller, reason: str) -> Run:
    """Reject a candidate; the champion stays.

    Raises:
        RunNotFoundError, RunStateError, ApprovalError.
    """
    run = _waiting(db, run_id)
    if not reason.strip():
        raise ApprovalError("a rejection needs a reason", field="reason")
    who = person_of(db, caller)
    body = signer_line(who) | {"reason": reason}
    close_rejected(site, db, run, caller.name, f"rejected by {who.named}: {reason}", body)
    return run


def close_rejected(site: Site, db: Session, run: Run, actor: str, words: str, body: Mapping[str, Any]) -> None:
    run.state, run.error, run.finished_at = "rejected", words, site.clock.now()
    reject_candidate(site, db, run)
    record_run(site, db, run, "run.rejected", actor, body)


def _waiting(db: Session, run_id: UUID) -> Run:
    run = store.run(db, run_id, lock=True)
    if run.state != "awaiting_approval":
        raise RunStateError(run_id, run.state, "awaiting_approval")
    return run


def _person(db: Session, caller: Caller) -> Signer:
    """The person who approves, as the keys say now: what a request was let in with may be a second old."""
    who = person_of(db, caller)
    if why := unnamed(db, caller, who):
        raise ApprovalError(why, actor=caller.name, key=caller.prefix)
    return who
