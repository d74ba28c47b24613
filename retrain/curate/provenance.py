"""Where the rows of a dataset come from: enough to make them again, and to defend each one left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.spec.model import ModelSpec
from retrain.curate.select import Drops
from retrain.provenance.code import code_version


@dataclass(frozen=True, slots=True)
class Tables:
    """The state of the lake that was read: its Delta versions and the range of events."""

    events_version: int | None
    outcomes_version: int | None
    from_seq: int
    to_seq: int
    outcomes: int  # rows of outcomes there were when the events were read
    next_outcome: int  # the `seq` of the next one


def record(
    spec: ModelSpec, revision: int, *, tables: Tables | None, filters: Sequence[str], drops: Drops,
    parents: Sequence[str], labels: Mapping[str, int], facts: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """A provenance record as plain JSON."""
    sources = []
    if tables is not None:
        span = {"from_seq": tables.from_seq, "to_seq": tables.to_seq}
        facts_read = {"outcomes": tables.outcomes, "next_outcome": tables.next_outcome}
        sources = [
            {"table": f"{spec.model}/events", "delta_version": tables.events_version, **span},
            {"table": f"{spec.model}/outcomes", "delta_version": tables.outcomes_version, **facts_read},
        ]
    return {
        "spec": {"revision": revision, "digest": spec.digest},
        "code": code_version(),
        "sources": sources,
        "filters": list(filters),
        "dropped": dict(drops.counts),
        "parents": list(parents),
        "labels": dict(labels),
        **facts,
    }
