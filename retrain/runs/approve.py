"""Approve or reject a run."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from monitor.site import Site
from monitor.tables import Model
from retrain import store
from retrain.errors import ApprovalError, RunStateError
from retrain.registry.promotion import approvals_needed, promote_run
from retrain.registry.versions import reject_candidate
from retrain.runs.record import record_run
from retrain.tables import Run


def started_by(db: Session, run: Run) -> str | None:
    """The person who started a run; None if the policy started it."""
    for finding in store.decision(db, run.decision_id).triggers:
        if finding["name"] == "manual" and finding["fire"]:
            return str(finding["evidence"][0])
    return None


def approve_run(site: Site, db: Session, run_id: UUID, actor: str, reason: str) -> Run:
    """Record an approval. The last required approval promotes the candidate.

    Raises:
        RunNotFoundError, RunStateError: no such run, or it does not wait for approval.
        ApprovalError: the actor started the run or has approved it already, or the reason is empty.
    """
    run = store.run(db, run_id, lock=True)
    if run.state != "awaiting_approval":
        raise RunStateError(run_id, run.state, "awaiting_approval")
    if not reason.strip():
        raise ApprovalError("an approval needs a reason; say what you checked", field="reason")
    db.get_one(Model, run.model_id, with_for_update=True)  # before the ledger's head, as everywhere
    if actor == started_by(db, run):
        raise ApprovalError(f"{actor} started run {run_id} and may not approve it; ask somebody else", actor=actor)
    if any(a["actor"] == actor for a in run.approvals):
        raise ApprovalError(f"{actor} has approved run {run_id} already; a different person is needed", actor=actor)
    now = site.clock.now()
    run.approvals = [*run.approvals, {"actor": actor, "at": now.isoformat(), "reason": reason}]
    needed = approvals_needed(store.spec_at(db, run.model_id, run.spec_revision))
    record_run(site, db, run, "run.approved", actor, {"reason": reason, "given": len(run.approvals), "needed": needed})
    if len(run.approvals) >= needed:
        names = ", ".join(a["actor"] for a in run.approvals)
        promote_run(site, db, run_id, actor, reason=f"approved by {names}")
    return run


def reject_run(site: Site, db: Session, run_id: UUID, actor: str, reason: str) -> Run:
    """Reject a candidate; the champion stays.

    Raises:
        RunNotFoundError, RunStateError, ApprovalError.
    """
    run = store.run(db, run_id, lock=True)
    if run.state != "awaiting_approval":
        raise RunStateError(run_id, run.state, "awaiting_approval")
    if not reason.strip():
        raise ApprovalError("a rejection needs a reason", field="reason")
    close_rejected(site, db, run, actor, f"rejected by {actor}: {reason}", {"reason": reason})
    return run


def close_rejected(site: Site, db: Session, run: Run, actor: str, words: str, body: Mapping[str, Any]) -> None:
    run.state, run.error, run.finished_at = "rejected", words, site.clock.now()
    reject_candidate(site, db, run)
    record_run(site, db, run, "run.rejected", actor, body)
