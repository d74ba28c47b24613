"""Entry points of the report jobs."""

from core.jobs import ReportJob
from core.queue import Retry
from monitor.site import Site
from reports import service


def build(site: Site, job: ReportJob) -> Retry | None:
    """Build the report; safe to run twice."""
    service.build(site, job.report_id)
    return None
