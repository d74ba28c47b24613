"""A plausible month of one model, straight into the tables: quiet, drift, a held-back decision, a retrain, recovery."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import sha256
from monitor.site import Site
from monitor.tables import Explanation
from tests.reports.story_runs import run
from tests.reports.story_teller import END, START, STEP, Teller
from tests.reports.story_windows import SENTENCES, window


@dataclass(frozen=True)
class Story:
    model_id: UUID
    run_id: UUID
    alert_id: UUID
    start: datetime = START
    end: datetime = END


def tell(site: Site, db: Session) -> Story:
    """Write the story; times lie in March 2026, whatever the clock says."""
    t = Teller(site, db)
    t.specs()
    t.version("v1", START - timedelta(days=1), START - timedelta(days=1), START + 22 * STEP, None)
    first = t.baseline("first", "model declared", START, 0)
    windows = []
    for i in range(22):
        drifted = i >= 15
        accuracy = (0.76 if drifted else 0.91) + t.random.uniform(-0.012, 0.012)
        windows.append(window(t, i, first, i, accuracy, drifted=drifted, version="v1"))
    drift = t.alert("drift", "p_value", windows[15], 7, 0.001, 0.01, SENTENCES["drift"])
    kpi = t.alert(
        "kpi",
        "accuracy",
        windows[16],
        6,
        0.757,
        0.85,
        "accuracy 0.757 (0.715 to 0.794), n = 467, below its limit 0.85.",
    )
    t.decision(
        "held",
        windows[15],
        False,
        "162 labelled events since the last training set, 200 needed",
        [{"name": "min_outcomes", "reason": "162 of 200"}],
    )
    fired = t.decision("fired", windows[18], True, "drift in 4 windows and 1,640 new outcomes", [])
    promoted = START + 22 * STEP
    made = run(t, fired, promoted - timedelta(hours=1))
    t.version("v2", promoted - timedelta(hours=1), promoted, None, made.id)
    second = t.baseline("second", "version v2 promoted", promoted, 11_000)
    for i in range(22, 34):
        windows.append(
            window(t, i, second, i - 22, 0.893 + t.random.uniform(-0.012, 0.012), drifted=False, version="v2")
        )
    drift.confirmation = {
        "window_id": str(windows[15].id),
        "artifact": sha256(b"confirmation"),
        "drifted_columns": ["text", "confidence"],
        "share": 0.5,
    }
    t.answer(drift, drift.opened_at + timedelta(hours=3), promoted + timedelta(days=1))
    t.answer(kpi, kpi.opened_at + timedelta(hours=4), promoted + timedelta(days=1))
    for i in range(3):
        t.add(
            Explanation(
                model_id=t.model.id,
                event_id=f"e-{i}",
                version="v1",
                artifact=sha256(f"e{i}".encode()),
                additivity_residual=1e-6 * (i + 1),
                created_at=START + 16 * STEP,
            )
        )
    return Story(t.model.id, made.id, drift.id)
