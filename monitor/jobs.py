"""Job entry points of the monitor."""

from typing import Final

from core.jobs import AnchorJob, CausesJob, ConfirmJob, DigestJob, EvaluateJob, UpkeepJob, WhyJob
from core.queue import Retry
from monitor.alerts import changed_rows
from monitor.causes.alert import find_causes
from monitor.confirm.confirm import confirm_alert
from monitor.site import Site
from monitor.upkeep import digests
from monitor.upkeep.maintain import is_crowded, maintain_tables, request_upkeep
from monitor.why.service import explain_alert
from monitor.windows import overdue_outcomes, silence
from monitor.windows.evaluate import evaluate as evaluate_model

SLICE: Final = 0.5  # of a turn, after which an evaluation with more windows to close lets others go first


def evaluate(site: Site, job: EvaluateJob) -> Retry | None:
    """Evaluate the windows of a model, check that rows and outcomes arrive, and request upkeep where files pile up."""
    if site.events.number_floor is not None:
        site.events.number_floor.look(job.model, site.events.extent)
    evaluate_model(site, job.model, turn_s=SLICE * site.settings.work.turn_s)
    silence.watch(site, job.model)
    overdue_outcomes.watch(site, job.model)
    if is_crowded(site, job.model):
        with site.database.write() as db:
            request_upkeep(db, job.model, site.clock.now())
    return None


def confirm(site: Site, job: ConfirmJob) -> Retry | None:
    """Confirm a drift alert on raw rows with an Evidently report."""
    confirm_alert(site, job.alert_id)
    return None


def why(site: Site, job: WhyJob) -> Retry | None:
    """Find what drove an alert, in a process of its own."""
    explain_alert(site, job.alert_id)
    return None


def causes(site: Site, job: CausesJob) -> Retry | None:
    """Find where the disparities of a fairness alert come from."""
    find_causes(site, job.alert_id)
    return None


def maintain(site: Site, job: UpkeepJob) -> Retry | None:
    """Apply retention to the tables of a model, then compact and clean them."""
    if maintain_tables(site, job.model):
        return None
    return Retry(site.clock.now(), "more files to merge")


def anchor(site: Site, _: AnchorJob) -> Retry | None:
    """Hand new checkpoints of the ledger to the anchors; one that fails is tried again by a later job."""
    from governance.anchors.deliver import deliver
    from governance.anchors.kinds import anchors_of

    settings = site.settings
    deliver(site.database, anchors_of(settings.anchors), evidence=settings.anchor_dir, now=site.clock.now())
    return None


def digest(site: Site, _: DigestJob) -> Retry | None:
    """Record the files of which the tables of all models consist, and hold the rows against the ledger."""
    changed_rows.watch(site)
    digests.record_all(site)
    return None
