"""A database restored from an older copy: what the lake has since then is not lost, and judged once."""

import shutil
from pathlib import Path

import pytest

from api.processes import ledger_watch
from core import settings
from core.clock import ManualClock
from governance.binding.check import check_rows
from governance.ledger.extends import places_of
from governance.ledger.recover import recover_ledger
from governance.ledger.selfcheck import verify_ledger
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site, open_site
from monitor.windows.evaluate import evaluate
from tests.monitor.test_service import declare, send, windows
from tests.monitor.traffic import events_body, rows, spec


@pytest.fixture
def home(tmp_path: Path, sqlite_template: Path) -> Path:
    (tmp_path / "home").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / "home" / "assay.db")
    return tmp_path / "home"


def opened(home: Path, clock: ManualClock) -> Site:
    return open_site(settings.load({}, home=home), clock)


def told(site: Site) -> list[tuple[int, int, str]]:
    return [(w.from_seq, w.to_seq, w.verdict) for w in windows(site)]


def test_rows_that_came_after_the_database_s_copy_are_judged_again(home: Path, clock: ManualClock) -> None:
    site = opened(home, clock)
    declare(site, spec())
    send(site, rows(1500))
    assert ledger_watch.sign_at_start(site) is None
    site.close()
    shutil.copyfile(home / "assay.db", home.parent / "older.db")
    site = opened(home, clock)
    send(site, rows(500, start=1500, shift=0.8, right=0.5))
    before = told(site)
    assert ledger_watch.sign_at_start(site) is None
    site.close()
    for end in ("-wal", "-shm"):
        (home / f"assay.db{end}").unlink(missing_ok=True)
    shutil.copyfile(home.parent / "older.db", home / "assay.db")
    site = opened(home, clock)
    assert "assay ledger recover" in (ledger_watch.sign_at_start(site) or "")
    repeated = receive(site, "loans", "events", Body(events_body(rows(500, start=1500, shift=0.8)), NDJSON))
    assert repeated.accepted == 0  # the lake knows them
    evaluate(site, "loans")
    assert told(site) == before
    with site.database.write() as db:
        found = recover_ledger(
            db, places=places_of(site.settings), vkeys=[site.keys.vkey], by="Ann", reason="disk", now=clock.now()
        )
        assert found is not None
    assert ledger_watch.sign_at_start(site) is None
    with site.database.read() as db:
        assert verify_ledger(db, places=places_of(site.settings), vkeys=[site.keys.vkey]).findings == ()
        assert check_rows(db).findings == ()
    site.close()
