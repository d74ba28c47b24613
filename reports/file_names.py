"""Names of report files: the model, the kind and the period, in characters that every system takes."""

import re
import unicodedata
from datetime import datetime
from typing import Final

from reports.periods import period_name

MOST: Final = 100  # characters of a model's name in the name of a file
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UNSAFE: Final = re.compile(r"[^\w.-]+")


def stem_of(model: str, kind: str, start: datetime, end: datetime, zone: str | None, subject: str | None = None) -> str:
    """`support-intents-audit-2026-Q3`; of a kind about one thing, with that: `loans-model_card-v7-2026-09-03`.

    Args:
        subject: an id, of which the first eight digits are named, or the name of a version.
    """
    about = "" if subject is None else f"-{safe_name(_UUID.sub(lambda found: found[0][:8], subject))}"
    return f"{safe_name(model)}-{safe_name(kind)}{about}-{period_name(start, end, zone or 'UTC')}"


def safe_name(text: str) -> str:
    """Letters, digits, `_`, `-` and `.` of any script; a name begins with no dot."""
    kept = _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-.")
    return kept[:MOST] or "model"


def ascii_of(name: str) -> str:
    """A name for readers of old, which know ASCII alone."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or "report"
