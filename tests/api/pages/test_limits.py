"""Pages and API say of a number why it was not judged, and of an alarm that it rests on an estimate."""

import polars as pl
from fastapi.testclient import TestClient

from api.app import create_app
from governance.access.api_keys import first_admin
from monitor import store
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.monitor.windows.test_estimates import scored
from tests.monitor.windows.test_limits import declare, label, send

pytestmark = SQLITE_FIRST


def test_pages_and_api_mark_numbers_that_are_not_judged_and_alarms_of_estimates(site: Site) -> None:
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"})
    html = {"Accept": "text/html"}
    declare(site, kpi=[{"metric": "accuracy", "min": 0.78}])
    reference = scored(2500)
    send(site, reference)
    label(site, reference)
    bad = scored(250, start=2500, right=(0.6, 0.64))
    send(site, bad)
    label(site, bad[:1].with_columns(truth=pl.lit("neither")))
    with site.database.read() as db:
        window = store.windows(db, store.model(db, "loans").id)[-1]
    measured = client.get("/api/v1/models/loans/measurements?metric=accuracy").json()["items"]
    mine = {m["segment"]: m for m in measured if m["window_id"] == str(window.id) and not m["segment"].count("=")}
    assert (mine[""]["n"], mine[""]["alarm"], mine[""]["details"]["judgement"]["judged"]) == (1, False, False)
    assert (mine["estimated"]["monitor"], mine["estimated"]["alarm"]) == ("estimate", True)
    [alert] = [a for a in client.get("/api/v1/models/loans/alerts").json()["items"] if a["monitor"] == "estimate"]
    shown = client.get(f"/windows/{window.id}", headers=html).text
    assert "not judged: n = 1 is below the minimum of 30" in shown
    assert "accuracy, estimated" in shown
    of_alert = client.get(f"/alerts/{alert['id']}", headers=html).text
    assert "estimated without outcomes" in of_alert
    assert "owner of the model: risk@example.com; nobody has taken it yet" in of_alert
    page = client.get("/models/loans", headers=html).text
    assert "<dt>accuracy, estimated</dt>" in page  # of one row nothing is realised yet
    assert page.index("<dt>accuracy, estimated</dt>") < page.index("realised, too few rows")
    assert "not judged: n = 1 is below the minimum of 30" in page
    assert "is estimated at" in page
