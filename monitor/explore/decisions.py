"""Look decisions up across models: by the id of an event, or by the person it is about; bounded in time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from monitor.explore.filters import event_filter, search_columns
from monitor.explore.search import search
from monitor.site import Site
from monitor.spec.model import ModelSpec

SECONDS: Final = 3.0
PER_MODEL: Final = 50


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision that was found."""

    model: str
    event_id: str
    at: datetime
    version: str
    answer: Any  # the prediction
    trace: str | None


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a look-up found.

    Attributes:
        quarantined: models in whose quarantine a row with this id waits.
        unsearched: models that the time did not suffice for.
        more: models with more decisions than are listed.
    """

    found: list[Decision] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    unsearched: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)


def by_id(site: Site, specs: Sequence[ModelSpec], event_id: str, *, seconds: float = SECONDS) -> Decisions:
    """The event with this id in each of some models."""
    import polars as pl

    began, result = time.monotonic(), Decisions()
    for spec in specs:
        if time.monotonic() - began > seconds:
            result.unsearched.append(spec.model)
            continue
        event = site.events.event(spec.model, event_id)
        if event is not None:
            result.found.append(_decision(spec, event))
        if site.events.quarantined(spec.model):
            rows = site.events.quarantine(spec.model).filter(pl.col("event_id") == event_id).head(1).select("id")
            if not rows.collect().is_empty():
                result.quarantined.append(spec.model)
    return result


def by_subject(site: Site, specs: Sequence[ModelSpec], digest: str, *, seconds: float = SECONDS) -> Decisions:
    """The newest decisions about a person, known by the digest that rows carry, in each of some models."""
    began, result = time.monotonic(), Decisions()
    for spec in specs:
        for column in spec.with_role("subject"):
            left = seconds - (time.monotonic() - began)
            if left < 0:
                result.unsearched.append(spec.model)
                continue
            asked = event_filter(search_columns(spec, {}), [f"{column}:eq:{digest}"])
            shown = [*spec.with_role("prediction"), "version", "trace_id"]
            page = search(site, spec, asked, columns=shown, limit=PER_MODEL, seconds=left)
            result.found.extend(_decision(spec, row) for row in page.rows)
            if page.reached is not None:
                result.unsearched.append(spec.model)
            elif page.next is not None:
                result.more.append(spec.model)
    result.found.sort(key=lambda d: d.at, reverse=True)
    return result


def _decision(spec: ModelSpec, row: dict[str, Any]) -> Decision:
    answer = row.get(spec.with_role("prediction")[0])
    version, trace = str(row.get("version") or ""), row.get("trace_id")
    return Decision(spec.model, row["event_id"], row["ts"], version, answer, trace)
