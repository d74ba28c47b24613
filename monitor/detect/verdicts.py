"""The verdicts on a window's drift. Kept apart from the tests that reach them, which need numpy."""

from typing import Final, Literal

DriftVerdict = Literal[
    "drift", "changed_below_floor", "no_evidence", "not_enough_data", "reference_too_short", "volume_changed"
]
JUDGED_VERDICTS: Final[tuple[DriftVerdict, ...]] = ("drift", "changed_below_floor", "no_evidence")
