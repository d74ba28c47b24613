"""Legal holds: retention, vacuum and erasure leave what is held, and go on once it is released."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance import erasure
from governance.access.api_keys import first_admin
from governance.ledger.read import ledger_lines
from governance.policy.holds import HeldError, add_hold, hold_of, holds, release_hold
from monitor.site import Site
from monitor.upkeep import maintain
from retrain.erasure import service
from tests.databases import SQLITE_ONLY
from tests.monitor import traffic
from tests.monitor.upkeep.test_maintain import declared, stored

pytestmark = SQLITE_ONLY


@pytest.fixture
def kept(site: Site, clock: ManualClock) -> Site:
    """Four days of events, of which a retention of two days leaves two."""
    clock.move_to(traffic.BEGIN + timedelta(days=4))
    declared(site, retention="2d")
    stored(site, traffic.rows(96, every=timedelta(hours=1)), retention="2d")
    return site


def held(site: Site, *, begin: int | None = None, end: int | None = None, subject: str | None = None) -> int:
    days = [None if n is None else traffic.BEGIN + timedelta(days=n) for n in (begin, end)]
    with site.database.write() as db:
        return add_hold(
            db, "loans", begin=days[0], end=days[1], subject=subject, reason="claim 7", actor="ann",
            now=site.clock.now(),
        ).id  # fmt: skip


def released(site: Site, hold: int) -> None:
    with site.database.write() as db:
        release_hold(db, hold_of(db, hold), reason="settled", actor="ann", now=site.clock.now())


def days(site: Site) -> list[date]:
    return sorted(set(site.events.events("loans")["ts"].dt.date()))


def test_retention_leaves_the_days_of_a_hold_until_it_is_released(kept: Site) -> None:
    first = traffic.BEGIN.date()
    hold = held(kept, begin=1, end=1)
    maintain.maintain_tables(kept, "loans")
    assert days(kept) == [first + timedelta(days=n) for n in (1, 2, 3)]
    released(kept, hold)
    maintain.maintain_tables(kept, "loans")
    assert days(kept) == [first + timedelta(days=n) for n in (2, 3)]


def test_a_hold_about_a_person_keeps_the_files_with_their_rows(kept: Site, clock: ManualClock) -> None:
    held(kept, subject=kept.events.subject_digest("c5"))  # row 5 is of the first day, and no other
    clock.move_to(clock.now() + timedelta(days=10))
    maintain.maintain_tables(kept, "loans")
    assert days(kept) == [traffic.BEGIN.date()]
    assert "e5" in kept.events.outcomes("loans")["event_id"].to_list()


def test_vacuum_spares_files_that_retention_took_out_before_the_hold(kept: Site) -> None:
    table = kept.events.table("loans", "events")
    maintain.maintain_tables(kept, "loans")
    held(kept, begin=0, end=0)
    kept.clock.move_to(datetime.now(UTC) + timedelta(days=400))  # type: ignore[attr-defined]  # a manual clock
    maintain.maintain_tables(kept, "loans")
    found = {path.parent.name for path in table.folder.glob("date=*/*.parquet")}
    assert found == {f"date={traffic.BEGIN.date()}"}


def test_an_erasure_under_way_stops_at_a_hold_and_goes_on_after_it(kept: Site) -> None:
    whom = kept.events.subject_digest("c5")

    def ask() -> UUID:
        with kept.database.write() as db:
            return erasure.request(db, subject=whom, models=[], actor="dpo", now=kept.clock.now()).id

    asked, hold = ask(), held(kept, subject=whom)
    with pytest.raises(HeldError, match=f"legal hold {hold} since .* by ann: claim 7"):
        service.run(kept, asked)
    assert kept.events.events("loans").filter(event_id="e5").height == 1
    released(kept, hold)
    assert ask() == asked
    service.run(kept, asked)
    assert kept.events.events("loans").filter(event_id="e5").height == 0


def test_over_http_a_held_person_is_not_erased_and_the_ledger_names_nobody(kept: Site) -> None:
    key = first_admin(kept)
    with TestClient(create_app(kept), headers={"Authorization": f"Bearer {key}"}) as client:
        wrong = {"model": "loans", "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z", "reason": "x"}
        assert client.post("/api/v1/holds", json=wrong).status_code == 422
        assert client.post("/api/v1/holds", json={"model": "nope", "reason": "x"}).status_code == 404
        body = {"model": "loans", "subject": "c5", "reason": "claim 7"}
        hold = client.post("/api/v1/holds", json=body).json()
        refused = client.post("/api/v1/erasures", json={"subject": "c5"})
        assert (refused.status_code, refused.json()["code"]) == (409, "legal_hold")
        assert f"assay hold release {hold['id']}" in refused.json()["detail"]
        assert client.post("/api/v1/erasures", json={"subject": "c6"}).status_code == 202
        assert [one["id"] for one in client.get("/api/v1/holds").json()["items"]] == [hold["id"]]
        path = f"/api/v1/holds/{hold['id']}/release"
        assert client.post(path, json={"reason": "settled"}).json()["released_by"] is not None
        assert client.post(path, json={"reason": "again"}).status_code == 409
        assert client.post("/api/v1/holds/99999/release", json={"reason": "x"}).status_code == 404
        assert client.post("/api/v1/erasures", json={"subject": "c5"}).status_code == 202
    with kept.database.read() as db:
        assert b'"c5"' not in b"".join(ledger_lines(db))
        assert [one.subject for one in holds(db)] == [kept.events.subject_digest("c5")]
