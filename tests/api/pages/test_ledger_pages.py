"""The ledger on pages: searched within bounds and scope, proved, and verified because somebody asked."""

from datetime import timedelta

from fastapi.testclient import TestClient
from sqlalchemy import text

from api.app import create_app
from api.processes.worker import drain
from core.clock import ManualClock
from governance.access.api_keys import create_key
from governance.access.roles import Role
from governance.ledger.find import EntrySearch, entry_kinds, find_entries
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.reports.story import tell
from tests.reports.story_teller import END

pytestmark = SQLITE_FIRST


def of(site: Site, models: list[str] | None = None) -> TestClient:
    with site.database.write() as db:
        _, key = create_key(
            db, name=f"viewer {models}", role=Role.VIEWER, models=models, actor="t", now=site.clock.now()
        )
    return TestClient(create_app(site), headers={"Authorization": f"Bearer {key}", "Accept": "text/html"})


def test_entries_are_found_by_kind_actor_time_and_text_and_proved(site: Site, clock: ManualClock) -> None:
    clock.move_to(END)
    with site.database.write() as db:
        tell(site, db)
    with site.database.write() as db:
        site.sign_ledger(db)
    viewer = of(site)
    with site.database.read() as db:
        whole = find_entries(db, EntrySearch(), limit=1000).entries
        kinds = entry_kinds(db)
        steps, before = list[int](), None
        while True:  # a search that is stopped at once, again and again, finds everything once
            part = find_entries(db, EntrySearch(actor="m.ortiz"), before=before, limit=1, seconds=0.0, chunk=3)
            part = part if part.entries else find_entries(
                db, EntrySearch(actor="m.ortiz"), before=before, limit=1, chunk=3
            )  # fmt: skip
            steps += [e["index"] for e in part.entries]
            if (before := part.next) is None:
                break
    assert kinds == sorted({e["kind"] for e in whole})
    assert steps == [e["index"] for e in whole if e["actor"] == "m.ortiz"]
    promoted = next(e for e in whole if e["kind"] == "version.promoted" and e["body"]["version"] == "v2")
    shown = viewer.get("/ledger?kind=version.promoted&text=V2&actor=m.ortiz").text
    assert shown.count('<td class="num"><a href="/ledger/') == 1
    assert f'href="/ledger/{promoted["index"]}"' in shown
    assert f'href="/ledger/{promoted["index"]}"' in viewer.get(f"/ledger?text={promoted['leaf']}").text
    assert "Nothing matches these filters" in viewer.get("/ledger?until=2020-01-01T00:00").text
    since = viewer.get("/ledger?since=2026-03-13T00:00&kind=version.promoted").text
    assert since.count('<td class="num"><a href="/ledger/') == 1
    assert viewer.get("/ledger?cursor=-1").status_code == 422
    assert "Check it without this service" in viewer.get(f"/ledger/{promoted['index']}").text
    assert "The log of 27 entries extends that of 10" in viewer.get("/ledger/checkpoints?first=10&second=27").text
    assert viewer.get("/ledger/checkpoints?first=27&second=10").status_code == 422
    assert viewer.get("/ledger/checkpoints?first=1&second=99999").status_code == 422


def test_a_caller_of_one_model_finds_its_entries_alone_and_verifies_nothing(site: Site, clock: ManualClock) -> None:
    clock.move_to(END)
    with site.database.write() as db:
        tell(site, db)
    other = of(site, ["elsewhere"])
    assert "support-intents" not in other.get("/ledger?text=model").text
    assert other.post("/ledger/verify").status_code in (403, 404)


def test_a_verification_says_that_nothing_was_changed_and_later_what_was(site: Site, clock: ManualClock) -> None:
    clock.move_to(END)
    with site.database.write() as db:
        tell(site, db)
    with site.database.write() as db:
        site.sign_ledger(db)
    viewer = of(site)
    for _ in range(2):  # asked twice, one runs
        assert viewer.post("/ledger/verify", follow_redirects=False).status_code == 303
    assert "queued" in viewer.get("/ledger").text
    drain(site)
    shown = viewer.get("/ledger").text
    assert "nothing was changed" in shown
    assert shown.count("nothing was changed</td>") == 1
    with site.database.write() as db:
        db.execute(text("update alert set sentence = 'All is well.' where monitor = 'drift'"))
    clock.move_to(END + timedelta(minutes=1))
    viewer.post("/ledger/verify")
    drain(site)
    shown = viewer.get("/ledger").text
    assert "do not agree" in shown or "does not agree" in shown
    assert "row.changed" in shown, shown[shown.index("verified") :]
    assert "Signed." in viewer.get("/ledger/1").text
    on = "" if site.database.engine.dialect.name == "sqlite" else " on ledger_entry"
    with site.database.write() as db:
        db.execute(text(f"drop trigger if exists ledger_entry_no_update{on}"))
        db.execute(text("update ledger_entry set entry = replace(entry, '2026', '2025') where \"index\" = 1"))
    shown = viewer.get("/ledger/1").text
    assert "Not as it was written: its bytes do not lead to the signed root." in shown
    assert "Signed." not in shown
