"""Job entry points of the monitor."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from core.queue import Retry
from monitor.confirm.confirm import confirm_alert
from monitor.site import Site
from monitor.upkeep import digests
from monitor.upkeep.maintain import ask, is_crowded, run
from monitor.windows import silence
from monitor.windows.evaluate import evaluate as evaluate_model


def evaluate(site: Site, payload: Mapping[str, Any]) -> Retry | None:
    """`{model}`: close due windows, refresh those whose outcomes have arrived, and see whether rows still come."""
    evaluate_model(site, payload["model"])
    silence.watch(site, payload["model"])
    if is_crowded(site, payload["model"]):
        with site.database.write() as db:
            ask(db, payload["model"], site.clock.now())
    return None


def confirm(site: Site, payload: Mapping[str, Any]) -> Retry | None:
    """`{alert_id}`: confirm a drift alert on the raw rows with an Evidently report."""
    confirm_alert(site, UUID(payload["alert_id"]))
    return None


def maintain(site: Site, payload: Mapping[str, Any]) -> Retry | None:
    """`{model}`: retention, compaction and cleaning of the model's tables."""
    if run(site, payload["model"]):
        return None
    return Retry(site.clock.now(), "more files to merge")


def digest(site: Site, _: Mapping[str, Any]) -> Retry | None:
    """`{}`: record in the ledger which files the tables of all models consist of."""
    digests.record_all(site)
    return None
