"""Entry points of the report jobs."""

from sqlalchemy.orm import Session

from core.jobs import ReportJob
from core.queue import Retry
from monitor.site import Site
from reports import service


def build(site: Site, job: ReportJob) -> Retry | None:
    """Build the report; safe to run twice."""
    service.build(site, job.report_id)
    return None


def given_up(site: Site, db: Session, job: ReportJob, reason: str) -> None:
    """Record that the report will not be built, because the job that built it was stopped."""
    service.record_failure(site, db, job.report_id, reason)
