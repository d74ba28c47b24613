"""Entry points of the report jobs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from core.queue import Retry
from monitor.site import Site
from reports import service


def build(site: Site, payload: Mapping[str, Any]) -> Retry | None:
    """`reports.build {report_id}`: safe to run twice."""
    service.build(site, UUID(payload["report_id"]))
    return None
