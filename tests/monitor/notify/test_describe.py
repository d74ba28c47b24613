"""What an alert costs: only what alarmed is said, the realised value before its estimate."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.notify import describe
from monitor.tables import ESTIMATED, Measurement, Window
from tests.databases import SQLITE_FIRST
from tests.monitor.notify.conftest import Configured, alarm

pytestmark = SQLITE_FIRST
BOUND = "recall is estimated at 0.336, limit 0.85"


def measured(db: Session, window: Window, now: datetime, **values: Any) -> None:
    facts: dict[str, Any] = {
        "id": uuid4(), "model_id": window.model_id, "window_id": window.id, "monitor": "kpi", "metric": "recall",
        "unit": "share", "limit": 0.85, "n": 100, "details": {}, "from_ts": window.from_ts, "to_ts": window.to_ts,
        "computed_at": now,
    }  # fmt: skip
    db.add(Measurement(**facts | values))


@pytest.mark.parametrize(
    ("realised", "estimated_alarms", "said"),
    [
        ((0.876, False), False, ""),  # the band of the estimate reaches over the limit, or outcomes contradict it
        ((None, False), False, ""),
        ((None, False), True, BOUND),
        ((0.7, True), True, "recall is 0.7, limit 0.85"),
    ],
)
def test_a_message_names_an_estimate_only_if_it_alarmed(
    configured: Configured, realised: tuple[float | None, bool], estimated_alarms: bool, said: str
) -> None:
    site = configured()
    alarm(site)
    value, alarms = realised
    with site.database.write() as db:
        window = db.scalars(select(Window).order_by(Window.to_ts.desc()).limit(1)).one()
        reason = "no outcomes" if value is None else None
        measured(
            db, window, site.clock.now(), value=value, reason=reason, alarm=alarms, estimated=0.336, estimated_low=0.0,
            estimated_high=1.0,
        )  # fmt: skip
        measured(
            db, window, site.clock.now(), monitor="estimate", segment=ESTIMATED, value=0.336, alarm=estimated_alarms,
            low=0.0, high=1.0,
        )  # fmt: skip
        db.flush()
        assert describe.consequences(db, window, window.from_ts) == said
