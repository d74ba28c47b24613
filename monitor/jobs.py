"""Job entry points of the monitor."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from core.queue import Retry
from monitor import confirmation, digests, windows
from monitor.site import Site


def evaluate(site: Site, payload: Mapping[str, Any]) -> Retry | None:
    """`{model}`: close due windows and refresh those whose outcomes have arrived."""
    windows.evaluate(site, payload["model"])
    return None


def confirm(site: Site, payload: Mapping[str, Any]) -> Retry | None:
    """`{alert_id}`: confirm a drift alert on the raw rows with an Evidently report."""
    confirmation.confirm_alert(site, UUID(payload["alert_id"]))
    return None


def digest(site: Site, _: Mapping[str, Any]) -> Retry | None:
    """`{}`: record in the ledger which files the tables of all models consist of."""
    digests.record_all(site)
    return None
