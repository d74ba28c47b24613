"""Episodes: a run of alarms is announced once, a quiet window ends it, the next alarm is announced again."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock
from governance.ledger.read import ledger_entries
from monitor import service, store
from monitor.alerts.acknowledge import acknowledge_alert, resolve_alert
from monitor.alerts.episodes import EvaluatedWindow, WindowState, announced_before, episodes, places, still_exists
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import Alert
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, rows, spec

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
STATES: dict[str, WindowState] = {"a": "alarm", "q": "quiet", "-": "unjudged"}


def looks(states: str, scale: str = "1d") -> list[EvaluatedWindow]:
    day = timedelta(days=1)
    return [
        EvaluatedWindow(UUID(int=at), scale, BEGIN + at * day, BEGIN + (at + 1) * day, STATES[s])
        for at, s in enumerate(states)
    ]


def spans(states: str) -> list[tuple[int, int, int, bool]]:
    """First and last window, windows, and whether it is over."""
    return [(e.first_window.int, e.last_window.int, e.windows, e.ended is not None) for e in episodes(looks(states))]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("", []),
        ("qq-", []),
        ("aa", [(0, 1, 2, False)]),
        ("aaq", [(0, 1, 2, True)]),
        ("aqa", [(0, 0, 1, True), (2, 2, 1, False)]),
        ("a-a", [(0, 2, 2, False)]),
        ("-qa--q-aa", [(2, 2, 1, True), (7, 8, 2, False)]),
    ],
)
def test_consecutive_alarms_are_one_episode_and_a_quiet_window_ends_it(
    states: str, expected: list[tuple[int, int, int, bool]]
) -> None:
    assert spans(states) == expected


def test_each_scale_has_episodes_of_its_own() -> None:
    days, weeks = looks("aqa"), [EvaluatedWindow(UUID(int=9), "7d", BEGIN, BEGIN + timedelta(days=7), "alarm")]
    found = episodes([*days, *weeks])
    assert [(e.scale, e.windows, e.ended is None) for e in found] == [
        ("1d", 1, False),
        ("7d", 1, True),
        ("1d", 1, True),
    ]


@given(st.text("aq-", max_size=40))
def test_episodes_hold_every_alarm_once_and_are_parted_by_quiet_windows(states: str) -> None:
    found = episodes(looks(states))
    assert sum(e.windows for e in found) == states.count("a")
    for one, other in pairwise(found):
        assert "q" in states[one.last_window.int : other.first_window.int]
    assert all(e.ended is not None for e in found[:-1])
    assert all("q" not in states[e.first_window.int : e.last_window.int] for e in found)


@given(st.text("aq-", min_size=1, max_size=20), st.text("aq-", max_size=5))
def test_an_episode_is_recognised_however_it_continues(states: str, more: str) -> None:
    before = [e.document() for e in episodes(looks(states))]
    after, later = episodes(looks(states + more)), places(looks(states + more))
    assert all(still_exists(was, after, later) for was in before)
    known = [announced_before(e, before, later) for e in after]
    assert [k for k in known if k is not None] == before


def declare(site: Site) -> None:
    monitors = document()["monitors"] | {
        "kpi": [{"metric": "latency_p50", "column": "amount", "max": 1}],
        "fairness": [],
    }
    with site.database.write() as db:
        service.apply_spec(site, db, spec(monitors=monitors), "tester")


def send(site: Site, frame: pl.DataFrame) -> None:
    assert receive(site, "loans", "events", Body(events_body(frame), NDJSON)).accepted == frame.height
    evaluate(site, "loans")


def of_kpi(site: Site) -> list[Alert]:
    with site.database.read() as db:
        return [a for a in store.alerts(db, store.model(db, "loans").id) if a.monitor == "kpi"]


def told(site: Site, alert: Alert) -> list[str]:
    with site.database.read() as db:
        kinds = ("alert.opened", "alert.again", "alert.acknowledged", "alert.resolved")
        found: Sequence[dict[str, Any]] = ledger_entries(db, kinds, subject="model:loans")
        return [e["kind"] for e in found if e["body"]["alert"] == str(alert.id)]


def test_each_episode_of_an_alert_is_announced_once_until_it_is_resolved(site: Site, clock: ManualClock) -> None:
    declare(site)
    send(site, rows(1000))
    shifts = [5.0, 5.0, 0.0, 5.0]
    for at, shift in enumerate(shifts[:2]):
        send(site, rows(250, start=1000 + 250 * at, shift=shift))
    (alert,) = of_kpi(site)
    assert (alert.windows, len(alert.episodes), told(site, alert)) == (2, 1, ["alert.opened"])
    with site.database.write() as db:
        acknowledge_alert(site, db, alert.id, "anna", "looking")
    send(site, rows(250, start=1500, shift=0.0))
    (alert,) = of_kpi(site)
    assert (alert.state, alert.windows) == ("acknowledged", 2)
    assert alert.episodes[0]["ended"] is not None
    clock.move_to(clock.now() + timedelta(hours=1))
    send(site, rows(250, start=1750, shift=5.0))
    (alert,) = of_kpi(site)
    assert (alert.state, alert.acknowledged_by, alert.windows) == ("open", None, 3)
    assert [(e["windows"], e.get("acknowledged_by"), e["ended"] is None) for e in alert.episodes] == [
        (2, "anna", False), (1, None, True),
    ]  # fmt: skip
    assert alert.episodes[1]["told_at"] == clock.now().isoformat()
    assert told(site, alert) == ["alert.opened", "alert.acknowledged", "alert.again"]
    with site.database.write() as db:
        resolve_alert(site, db, alert.id, "anna", "fixed")
    send(site, rows(250, start=2000, shift=5.0))
    assert [len(a.episodes) for a in of_kpi(site)] == [2, 1]
    assert of_kpi(site)[0].windows == 3


@SQLITE_FIRST
def test_an_episode_that_continues_after_it_was_acknowledged_is_not_announced_again(site: Site) -> None:
    declare(site)
    send(site, rows(1250, shift=5.0))
    (alert,) = of_kpi(site)
    with site.database.write() as db:
        acknowledge_alert(site, db, alert.id, "anna", None)
    send(site, rows(250, start=1250, shift=5.0))
    (alert,) = of_kpi(site)
    assert (alert.state, alert.windows, len(alert.episodes)) == ("acknowledged", 6, 1)
