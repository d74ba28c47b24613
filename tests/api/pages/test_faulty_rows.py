"""Pages name the rows of a quality alarm by their values, and the methods that confirmed a drift alert."""

import polars as pl
from fastapi.testclient import TestClient

from api.app import create_app
from governance.access.api_keys import first_admin
from monitor import store
from monitor.confirm.confirm import confirm_alert
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.monitor.windows.test_quality import declare_without_subject, send, students

pytestmark = SQLITE_FIRST


def test_pages_show_which_rows_repeat_and_how_drift_was_confirmed(site: Site) -> None:
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"})
    html = {"Accept": "text/html"}
    declare_without_subject(site)
    send(site, students(0, 2000, 100))
    send(site, students(2000, 250, 5).with_columns(pl.col("amount") + 3.0))
    with site.database.read() as db:
        window = store.windows(db, store.model(db, "loans").id)[-1]
        drift = next(a.id for a in store.alerts(db, window.model_id) if a.monitor == "drift")
    items = client.get("/api/v1/models/loans/alerts").json()["items"]
    repeats = next(a for a in items if a["metric"] == "duplicates")
    shown = client.get(f"/windows/{window.id}", headers=html).text
    assert "50 rows: <code>region</code> campus &#34;A&#34;, <code>note</code> may I borrow money" in shown
    assert "Most often: <code>region</code>" in client.get(f"/alerts/{repeats['id']}", headers=html).text
    confirm_alert(site, drift)
    page = client.get(f"/alerts/{drift}", headers=html).text
    assert "or a false alarm, resolve the alert" in page
    assert "amount drifted by Evidently (wasserstein from" in page, page[page.index("drifted by") - 200 :][:400]
    found = client.get(f"/api/v1/alerts/{drift}").json()["confirmation"]["columns"]
    assert {c["column"]: (c["method"], c["threshold"], c["drifted"]) for c in found}["amount"] == (
        "wasserstein",
        0.1,
        True,
    )
