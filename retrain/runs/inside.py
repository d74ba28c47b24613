"""What a run has measured at each step, and the limits its trainer gets."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from monitor.site import Site
from retrain import store
from retrain.curate.service import Prepared
from retrain.limits import RunFacts
from retrain.registry.rules import Rules
from retrain.runs.waiting import wait
from retrain.tables import Run
from retrain.train.config import RunFiles

Configured = TypeVar("Configured", bound=RunFiles)

HOUR_S: Final = 3600.0


def _least(values: Iterable[float | None]) -> Any:
    """The least of the limits that are set; None if none is."""
    return min((value for value in values if value is not None), default=None)


def limited(run: Run, rules: Rules, config: Configured) -> Configured:
    """The configuration with what the trainer may use and cut: by envelope and budgets, and by what people allowed."""
    envelopes = [s.envelope for s in rules.sets]
    granted = {e["limit"]: e["granted"] for e in run.exceptions}  # the last of a limit allows most
    left = {} if any(".budget." in name for name in granted) else (run.used or {}).get("granted", {})
    hours = [granted.get("max_gpu_hours", min(e.max_gpu_hours for e in envelopes)), left.get("hours")]
    energy = [granted.get("max_kwh", _least(e.max_kwh for e in envelopes)), left.get("kwh")]
    cut = any(name.startswith("max_cut_share.") for name in granted)
    most_hours = _least(hours)
    return config.model_copy(
        update={
            "max_seconds": None if most_hours is None else most_hours * HOUR_S,
            "max_kwh": _least(energy),
            "max_cut_share": None if cut else min(e.max_cut_share for e in envelopes),
            "max_parameters": granted.get(
                "max_adapter_parameters", _least(e.max_adapter_parameters for e in envelopes)
            ),
        }
    )


def facts_of_rows(run: Run, prepared: Prepared) -> RunFacts:
    """What is known of a run once its rows are chosen."""
    found = prepared.curated.facts
    oldest = found["oldest_at"]
    return RunFacts(
        sources=found["rows_by_source"], synthetic_rows=found["synthetic_rows"],
        rows=prepared.curated.train.rows.height, began_at=run.created_at,
        oldest_at=datetime.fromisoformat(oldest) if oldest else None,
    )  # fmt: skip


def wait_at_limit(site: Site, run_id: UUID, passed: Sequence[Mapping[str, Any]]) -> bool:
    """Let a run wait at the limits at which its trainer stopped."""
    with site.database.write() as db:
        run = store.run(db, run_id, lock=True)
        waits = wait(site, db, run, [_named(run, one) for one in passed])
        if waits:
            run.attempts -= 1  # it was not killed
        return waits


def _named(run: Run, one: Mapping[str, Any]) -> dict[str, Any]:
    """The limit by the key that set it: what a budget left when the run started may be less than the envelope."""
    of = {"max_gpu_hours": "hours", "max_kwh": "kwh"}.get(str(one["limit"]))
    granted = (run.used or {}).get("granted", {})
    if of is None or granted.get(f"{of}_by") is None or one["declared"] > granted[of] * 1.001:
        return {"unit": "", "inside": False, **one}
    key = granted[f"{of}_by"]
    words = f"{one['measured']:.4g} of {granted[of]:.4g} that {key} left when the run started: {one['reason']}"
    return {"unit": of, "inside": False, **one, "limit": key, "reason": words}
