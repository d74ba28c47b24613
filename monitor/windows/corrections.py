"""Late rows and late or changed outcomes correct what was already shown: what it was before stays, with the reason."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.site import Site
from monitor.tables import Measurement, Model, Window
from monitor.windows.readings import Reading

KEPT: Final = 20  # corrections of one number or verdict that are listed; older ones are counted
OUTCOMES: Final = "late outcomes"
ROWS: Final = "late rows"
_CARRIED: Final = ("corrections", "history", "corrected_by")


def correction(stored: Measurement, reading: Reading, now: datetime, why: str) -> dict[str, Any]:
    """Fields of a measurement to set where a reading changes a value that was there; none where it is the first."""
    if stored.value is None or (stored.value == reading.value and stored.n == reading.n):
        return {"details": reading.details | {k: v for k, v in stored.details.items() if k in _CARRIED}}
    before = {
        "value": stored.value, "low": stored.low, "high": stored.high, "n": stored.n,
        "computed_at": stored.computed_at.isoformat(), "corrected_at": now.isoformat(), "why": why,
    }  # fmt: skip
    history = [*stored.details.get("history", []), before][-KEPT:]
    count = stored.details.get("corrections", 0) + 1
    return {
        "previous_value": stored.value, "previous_n": stored.n, "corrected_at": now,
        "details": reading.details | {"corrections": count, "history": history, "corrected_by": why},
    }  # fmt: skip


def said(window: Window) -> dict[str, Any]:
    """What a window says, for its history."""
    return {
        "verdict": window.verdict, "sentence": window.sentence, "drift": window.decision["verdict"],
        "p": window.decision["p"], "rows": window.rows, "labels": window.labels,
        "computed_at": (window.corrected_at or window.closed_at).isoformat(),
    }  # fmt: skip


def corrected(site: Site, db: Session, model: Model, window: Window, before: dict[str, Any], why: str) -> None:
    """Write down that a verdict was computed again: on the window with what it said before, and in the ledger."""
    now = site.clock.now()
    window.corrected_at, window.corrections = now, window.corrections + 1
    window.history = [*window.history, before | {"corrected_at": now.isoformat(), "why": why}][-KEPT:]
    after = said(window)
    facts = ("verdict", "drift", "p", "rows")  # sentences may quote values, which are not for the ledger
    append_entry(
        db, kind="window.corrected", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=now,
        body={
            "window": window.id, "reason": why, "before": {k: before[k] for k in facts},
            "after": {k: after[k] for k in facts}, "events_version": window.events_version,
            "spec_revision": window.spec_revision,
        },
    )  # fmt: skip
