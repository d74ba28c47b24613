"""Job entry points of the monitor."""

from core.jobs import ConfirmJob, DigestJob, EvaluateJob, UpkeepJob
from core.queue import Retry
from monitor.confirm.confirm import confirm_alert
from monitor.site import Site
from monitor.upkeep import digests
from monitor.upkeep.maintain import ask, is_crowded, run
from monitor.windows import silence
from monitor.windows.evaluate import evaluate as evaluate_model


def evaluate(site: Site, job: EvaluateJob) -> Retry | None:
    """Close due windows, refresh those whose outcomes have arrived, and check that rows still arrive."""
    evaluate_model(site, job.model)
    silence.watch(site, job.model)
    if is_crowded(site, job.model):
        with site.database.write() as db:
            ask(db, job.model, site.clock.now())
    return None


def confirm(site: Site, job: ConfirmJob) -> Retry | None:
    """Confirm a drift alert on the raw rows with an Evidently report."""
    confirm_alert(site, job.alert_id)
    return None


def maintain(site: Site, job: UpkeepJob) -> Retry | None:
    """Apply retention to the model's tables, compact and clean them."""
    if run(site, job.model):
        return None
    return Retry(site.clock.now(), "more files to merge")


def digest(site: Site, _: DigestJob) -> Retry | None:
    """Record in the ledger which files the tables of all models consist of."""
    digests.record_all(site)
    return None
