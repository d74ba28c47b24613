"""Keep the earlier values of numbers and verdicts that late rows or outcomes correct, with the reason."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.site import Site
from monitor.tables import Measurement, Model, Window
from monitor.windows.readings import Reading

MAX_LISTED_CORRECTIONS: Final = 20  # corrections listed for one number or verdict; older ones are only counted
LATE_OUTCOMES: Final = "late outcomes"
LATE_ROWS: Final = "late rows"
_CARRIED_KEYS: Final = ("corrections", "history", "corrected_by")


def correction_fields(stored: Measurement, reading: Reading, now: datetime, reason: str) -> dict[str, Any]:
    """Fields of a measurement to set when a reading replaces it; a changed value keeps the one before.

    Args:
        reason: what changed the value.
    """
    if stored.value is None or (stored.value == reading.value and stored.n == reading.n):
        return {"details": reading.details | {k: v for k, v in stored.details.items() if k in _CARRIED_KEYS}}
    before = {
        "value": stored.value, "low": stored.low, "high": stored.high, "n": stored.n,
        "computed_at": stored.computed_at.isoformat(), "corrected_at": now.isoformat(), "why": reason,
    }  # fmt: skip
    history = [*stored.details.get("history", []), before][-MAX_LISTED_CORRECTIONS:]
    count = stored.details.get("corrections", 0) + 1
    return {
        "previous_value": stored.value, "previous_n": stored.n, "corrected_at": now,
        "details": reading.details | {"corrections": count, "history": history, "corrected_by": reason},
    }  # fmt: skip


def verdict_summary(window: Window) -> dict[str, Any]:
    """The verdict of a window and what it rests on, as the window's history keeps it."""
    return {
        "verdict": window.verdict, "sentence": window.sentence, "drift": window.decision["verdict"],
        "p": window.decision["p"], "rows": window.rows, "labels": window.labels,
        "computed_at": (window.corrected_at or window.closed_at).isoformat(),
    }  # fmt: skip


def record_correction(
    site: Site, db: Session, model: Model, window: Window, before: dict[str, Any], reason: str
) -> None:
    """Record that a window was judged again: the earlier verdict in its history, both verdicts in the ledger.

    Args:
        before: `verdict_summary` of the window before it was judged again.
        reason: what changed.
    """
    now = site.clock.now()
    window.corrected_at, window.corrections = now, window.corrections + 1
    window.history = [*window.history, before | {"corrected_at": now.isoformat(), "why": reason}][
        -MAX_LISTED_CORRECTIONS:
    ]
    after = verdict_summary(window)
    facts = ("verdict", "drift", "p", "rows")  # sentences may quote values, which must not enter the ledger
    append_entry(
        db, kind="window.corrected", actor=SYSTEM_ACTOR, subject=f"model:{model.name}", at=now,
        body={
            "window": window.id, "reason": reason, "before": {k: before[k] for k in facts},
            "after": {k: after[k] for k in facts}, "events_version": window.events_version,
            "spec_revision": window.spec_revision,
        },
    )  # fmt: skip
