"""The lake restored from an older copy than the database: numbers of judged rows are not given again."""

import json
import shutil
from pathlib import Path

from sqlalchemy import update

from api.processes.older_lake import KIND, OLDER, announce_older_lake
from core.clock import ManualClock
from core.jobs import EvaluateJob
from governance.ledger.read import ledger_rows
from monitor import jobs
from monitor.alerts import store
from monitor.site import Site
from monitor.tables import ReferenceRow
from tests.monitor.test_restored import home, opened, told
from tests.monitor.test_service import declare, send
from tests.monitor.traffic import rows, spec

__all__ = ["home"]


def judged(home: Path, clock: ManualClock) -> Site:
    """An installation with 2,000 judged rows of which the lake has 1,500, opened anew."""
    site = opened(home, clock)
    declare(site, spec())
    send(site, rows(1500))
    site.close()
    shutil.copytree(home / "lake", home.parent / "older")
    site = opened(home, clock)
    send(site, rows(500, start=1500))
    assert sorted(told(site))[-1][:2] == (1750, 2000)
    site.close()
    shutil.rmtree(home / "lake")
    shutil.copytree(home.parent / "older", home / "lake")
    return opened(home, clock)


def announced(site: Site) -> list[tuple[dict[str, object], str]]:
    announce_older_lake(site)
    announce_older_lake(site)
    with site.database.read() as db:
        entries = [json.loads(row.entry)["body"] for row in ledger_rows(db, kind=KIND, limit=9)]
        alerts = [alert.sentence for alert in store.system_alerts(db, "system", OLDER)]
    return list(zip(entries, alerts, strict=True))


def test_rows_that_come_after_an_older_lake_are_judged(home: Path, clock: ManualClock) -> None:
    site = judged(home, clock)
    send(site, rows(500, start=1500))  # again, and then new ones
    send(site, rows(250, start=2000, shift=0.8, right=0.5))
    assert [w[:2] for w in sorted(told(site))[-4:]] == [(1750, 2000), (2000, 2250), (2250, 2500), (2500, 2750)]
    assert sorted(told(site))[-1][2] == "alarm"
    (events, first), (outcomes, _) = announced(site)
    assert events == {"table": "events", "found": 1500, "judged": 2000}
    assert outcomes == {"table": "outcomes", "found": 1500, "judged": 2000}
    assert "500 rows are gone" in first
    site.close()
    site = opened(home, clock)  # as it goes on, nothing is found again
    send(site, rows(250, start=2500))
    assert sorted(told(site))[-1][:2] == (2750, 3000)
    assert len(announced(site)) == 2
    site.close()


def test_an_older_lake_is_told_before_new_rows_come(home: Path, clock: ManualClock) -> None:
    site = judged(home, clock)
    jobs.evaluate(site, EvaluateJob(model="loans"))
    assert len(announced(site)) == 2
    with site.database.write() as db:  # a reader was ahead of the windows: two of them have no rows any more
        db.execute(update(ReferenceRow).values(profiled_seq=2500))
    site.close()
    site = opened(home, clock)
    send(site, rows(250, start=2500, shift=0.8, right=0.5))
    assert [w[:2] for w in sorted(told(site))[-3:]] == [(2000, 2250), (2250, 2500), (2500, 2750)]
    site.close()
