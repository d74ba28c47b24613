"""Late and changed outcomes correct a number that was already shown: what it was before stays beside it."""

from datetime import datetime
from typing import Any, Final

from monitor.measure import Reading
from monitor.tables import Measurement

KEPT: Final = 20  # corrections of one number that are listed; older ones are counted


def correction(stored: Measurement, reading: Reading, now: datetime) -> dict[str, Any]:
    """Fields of a measurement to set where a reading changes a value that was there; none where it is the first."""
    if stored.value is None or (stored.value == reading.value and stored.n == reading.n):
        return {
            "details": reading.details | {k: v for k, v in stored.details.items() if k in ("corrections", "history")}
        }
    before = {
        "value": stored.value, "low": stored.low, "high": stored.high, "n": stored.n,
        "computed_at": stored.computed_at.isoformat(), "corrected_at": now.isoformat(),
    }  # fmt: skip
    history = [*stored.details.get("history", []), before][-KEPT:]
    count = stored.details.get("corrections", 0) + 1
    return {
        "previous_value": stored.value, "previous_n": stored.n, "corrected_at": now,
        "details": reading.details | {"corrections": count, "history": history},
    }  # fmt: skip
