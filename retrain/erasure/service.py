"""An erasure from its request to its proof: steps in a fixed order, each safe to repeat, the done ones remembered."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from core.canonical import canonical
from core.errors import AppError, BusyError
from core.queue import Retry
from governance import erasure
from governance.binding.withhold import withhold
from governance.erasure import Case
from governance.ledger.extends import LedgerRefusedError
from governance.ledger.signers.base import SignerUnreachableError
from governance.policy.holds import refuse_erasure
from governance.tables import Erasure
from monitor import store as monitored
from monitor.site import Site
from monitor.upkeep import erase_derived, erase_quotes, erase_rows
from retrain.erasure import datasets, traces

Step = Callable[[Site, Case], Retry | None]
KEPT: Final = (
    "Delta logs hold file names, row counts and extremes of seq, ts and received_at: no column of a person; they stay.",
    "The ledger holds digests, counts and times; digests of files that are gone are explained by this proof.",
    "Verdicts and KPIs made before are sums over many rows; they stay as they were recorded, but for values of a "
    "category that no row is left with, which were taken out of their words. Reports made before stay whole.",
    "Which events a dataset held stays as keyed digests of their ids, so that it can be asked which versions learned "
    "from an erased event by whoever knows its id; without the installation's key they tell nothing.",
    "Weights of adapters cannot be searched for a person; the versions that learned from the rows are listed.",
    "Copies outside this installation (backups, exports, bundles handed out) are not reached.",
)


def _rows(site: Site, case: Case) -> None:
    erase_rows.erase_rows(site, case)


def _wait(site: Site, case: Case) -> Retry | None:
    """Jobs that read before the rows went may still write what they made of them; the logs still hold the rows."""
    if erase_rows.segments_left(site, case):
        return Retry(site.clock.now() + timedelta(seconds=5), "a write-ahead log has yet to let go of the rows")
    if traces.readers_under_way(site, case):
        return Retry(site.clock.now() + timedelta(seconds=2), "jobs that read the rows before are still running")
    return None


def _datasets(site: Site, case: Case) -> None:
    datasets.erase_datasets(site, case)


def _runs(site: Site, case: Case) -> Retry | None:
    try:
        traces.close_runs(site, case)
    except BusyError as error:
        return Retry(site.clock.now() + timedelta(seconds=error.retry_after_s), error.message)
    datasets.erase_predictions(site, case)
    datasets.mark_versions(site, case)
    return None


def _derived(site: Site, case: Case) -> None:
    with site.database.read() as db:
        changed = {row.id for row in datasets.touched(db, case)}
    # Confirmations first: the old baselines tell which of them show an erased row.
    erase_derived.erase_confirmations(site, case, changed)
    erase_derived.erase_drafts(site, case, changed)
    # Words next, because the rows of the baselines identify their windows; profiles last, with the new bins.
    erase_derived.refit_references(site, case, changed)
    erase_quotes.redact_quotes(site, case, changed)
    erase_derived.profile_again(site, case)


def _traces(site: Site, case: Case) -> None:
    traces.erase_explanations(site, case)
    traces.erase_attributions(site, case)
    traces.scrub_jobs(site, case)
    traces.erase_leftovers(site, case)


UNSIGNED_WAIT: Final = timedelta(minutes=5)  # between two tries to sign the proof
STEPS: Final[dict[str, Step]] = {
    "rows": _rows, "wait": _wait, "datasets": _datasets, "runs": _runs, "derived": _derived, "traces": _traces,
}  # fmt: skip


def run(site: Site, erasure_id: UUID) -> Retry | None:
    """Continue an erasure from its current step to the end. A finished erasure is left unchanged.

    Raises:
        Exception: whatever went wrong, after it was recorded; asking for the erasure again resumes it.
    """
    with site.database.write() as db:
        row = erasure.erasure(db, erasure_id, lock=True)
        if (finished := row.state == "done") is False:
            row.state, row.error = "running", None
    if finished:  # a worker may have died between the last entry and this
        site.database.forget()
        return None
    try:
        retry = None
        if row.done_entry is None and (retry := _steps(site, row)) is None:
            retry = _prove(site, erasure_id)
        if retry is None:
            retry = _close(site, erasure_id)
    except Exception as error:
        reason = f"{error.code}: {error.message}" if isinstance(error, AppError) else type(error).__name__
        with site.database.write() as db:
            stored = erasure.erasure(db, erasure_id, lock=True)
            stored.state, stored.error = "failed", reason
        raise
    return retry


def _steps(site: Site, row: Erasure) -> Retry | None:
    for model in _models(site, row):
        case = Case(row.id, row.subject, model, row.requested_at)
        for name, step in STEPS.items():
            mark = f"{model}/{name}"
            with site.database.read() as db:
                if mark in erasure.erasure(db, row.id).steps:
                    continue
                if name == "rows":  # a hold of after the request; once rows are gone, the rest follows
                    refuse_erasure(db, model, row.subject)
            if (retry := step(site, case)) is not None:
                return retry
            with site.database.write() as db:
                stored = erasure.erasure(db, row.id, lock=True)
                stored.steps = [*stored.steps, mark]
    return None


def _models(site: Site, row: Erasure) -> list[str]:
    if row.models:
        return list(row.models)
    with site.database.read() as db:
        return [model.name for model in monitored.models(db)]


def _prove(site: Site, erasure_id: UUID) -> Retry | None:
    """Write the proof and record its digest in the ledger.

    Nothing is proved while a row is found that was there when the erasure was asked for: then all steps are repeated.
    """
    with site.database.read() as db:
        row = erasure.erasure(db, erasure_id)
    now = site.clock.now()
    models = [_model_proof(site, Case(row.id, row.subject, name, row.requested_at)) for name in _models(site, row)]
    if any(table["after"]["found"] for model in models for table in model["tables"]):
        with site.database.write() as db:
            erasure.erasure(db, erasure_id, lock=True).steps = []
        return Retry(now + timedelta(seconds=5), "rows were found that had been there")
    adapters = [version for model in models for version in model.pop("versions")]
    proof = canonical(
        {
            "format": erasure.FORMAT, "id": row.id, "subject": row.subject, "requested_at": row.requested_at,
            "completed_at": now, "requested_entry": row.requested_entry, "models": models, "adapters": adapters,
            "kept": KEPT,
        }
    )  # fmt: skip
    artifact = site.artifacts.put(proof)
    removed = {t["table"]: 0 for m in models for t in m["tables"]}
    for table in (t for m in models for t in m["tables"]):
        removed[table["table"]] += table["rows_removed"]
    facts = {"rows_removed": removed, "adapters": [f"{a['model']} {a['version']}" for a in adapters]}
    with site.database.write() as db:
        if erasure.erasure(db, erasure_id, lock=True).done_entry is None:
            withhold(db, erasure_id, now)
            erasure.record_proof(db, erasure_id, proof=artifact, facts=facts, now=now)
    return None


def _close(site: Site, erasure_id: UUID) -> Retry | None:
    """Sign the ledger, show the erasure as done, and leave nothing in the database's own files.

    While the ledger is not signed, the rows are gone and the proof waits.

    Only a committed entry may be signed: the anchor file is written at once, and a transaction that then failed would
    leave a signed ledger that never was. So the entry has its own transaction, and "done" comes with the checkpoint.
    """
    now = site.clock.now()
    try:
        with site.database.write() as db:
            site.sign_ledger(db)
            erasure.complete(db, erasure_id, now=now)
    except (LedgerRefusedError, SignerUnreachableError) as error:
        with site.database.write() as db:
            erasure.erasure(db, erasure_id, lock=True).error = f"all is removed, its proof waits: {error.message}"
        return Retry(now + UNSIGNED_WAIT, error.message)
    site.database.forget()
    return None


def _model_proof(site: Site, case: Case) -> dict[str, Any]:
    with site.database.read() as db:
        events = len(erasure.remembered(db, case, "ids"))
        versions = datasets.learned(db, case)
    return {
        "model": case.model, "events": events, "tables": erase_rows.tables_proof(site, case),
        **datasets.datasets_proof(site, case), **erase_derived.derived_proof(site, case),
        **traces.traces_proof(site, case), "versions": versions,
    }  # fmt: skip
