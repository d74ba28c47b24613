"""How far a report is, in steps that its row shows."""

from dataclasses import dataclass
from typing import Final

from reports.tables import Report

STEPS: Final = 2


@dataclass(frozen=True, slots=True)
class Step:
    done: int
    words: str


def step_of(report: Report) -> Step | None:
    """None once it has ended."""
    if report.state != "queued":
        return None
    if (report.files or {}).get("json"):
        return Step(1, "step 2 of 2: bundle with its proof")
    return Step(0, "step 1 of 2: facts gathered and typeset")
