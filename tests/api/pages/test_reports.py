"""Pages of reports: the list, one report with its files and proof, schedules, packs, and an upload that is verified."""

import re
from datetime import timedelta
from uuid import UUID

from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from monitor.site import Site
from reports import service, store
from tests.databases import SQLITE_FIRST
from tests.reports.story import tell
from tests.reports.story_teller import END

pytestmark = SQLITE_FIRST
HTML = {"Accept": "text/html"}


def test_somebody_builds_a_report_on_the_pages_and_verifies_it_there(site: Site, clock: ManualClock) -> None:
    clock.move_to(END + timedelta(days=40))
    with site.database.write() as db:
        tell(site, db)
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}", **HTML})
    assert "No report yet." in client.get("/reports").text
    form = {"model": "support-intents", "period": "2026-03", "zone": "Asia/Kolkata", "regime-sr-26-2": "on"}
    asked = client.post("/reports", data=form, follow_redirects=False)
    assert asked.status_code == 303, asked.text
    path = asked.headers["location"]
    assert "is being built" in client.get(path).text
    service.build(site, UUID(path.rpartition("/")[2]))
    shown = client.get(path).text
    assert "2026-03-01 to 2026-03-31, Asia/Kolkata" in shown
    assert "support-intents-audit-2026-03.pdf" in shown
    assert "US bank model risk" in shown
    assert "2026-03" in client.get("/reports?model=support-intents&state=ready&sort=period").text
    assert client.get("/reports?state=lost").status_code == 422
    checked = client.post(f"{path}/check").text
    assert "Nothing in it was changed since it was signed, and a key that you trust signed it." in checked
    bundle = client.get(f"/api/v1{path}.zip").content
    _uploaded(client, bundle, 0, site.keys.vkey)
    _uploaded(client, bundle, 5, "")
    _uploaded(client, bundle.replace(b"support-intents", b"support-intentz", 40), 1, site.keys.vkey)
    _uploaded(client, b"PK\x03\x04 no bundle at all", 1, site.keys.vkey)
    assert "support-intents-audit-2026-03.zip" in client.get(path).text  # the pull
    for name in ("報告" * 50 + ".zip", ".."):
        answer = client.post("/reports/verify", files={"bundle": (name, b"PK", "application/zip")}, data={"key": ""})
        assert (answer.status_code, "<dd>1: " in answer.text) == (200, True), answer.text
    _tried_again(site, client, path)


def _tried_again(site: Site, client: TestClient, path: str) -> None:
    """A report without its PDF says why, and is tried again by a button."""
    with site.database.write() as db:
        row = store.report(db, UUID(path.rpartition("/")[2]), lock=True)
        row.files = {face: digest for face, digest in (row.files or {}).items() if face != "pdf"}
        row.error = "PDF failed: no room on the disk"
    shown = client.get(path).text
    assert "PDF failed: no room on the disk" in shown
    assert f'action="{path}/retry"' in shown
    assert client.post(f"{path}/retry", follow_redirects=False).status_code == 303
    assert "is being built" in client.get(path).text


def _uploaded(client: TestClient, bundle: bytes, status: int, key: str) -> None:
    answer = client.post("/reports/verify", files={"bundle": ("a.zip", bundle, "application/zip")}, data={"key": key})
    assert answer.status_code == 200, answer.text
    assert re.search(rf"<dd>{status}: ", answer.text), answer.text


def test_schedules_and_packs_are_read_by_viewers_and_declared_by_those_who_may(site: Site, clock: ManualClock) -> None:
    clock.move_to(END + timedelta(days=40))
    with site.database.write() as db:
        tell(site, db)
        _, key = create_key(db, name="vi", role=Role.VIEWER, actor="assay", owner="Vi", now=clock.now())
    app = create_app(site)
    admin = TestClient(app, headers={"Authorization": f"Bearer {first_admin(site)}", **HTML})
    viewer = TestClient(app, headers={"Authorization": f"Bearer {key}", **HTML})
    form = {"model": "support-intents", "every": "month", "zone": "Europe/Berlin"}
    assert viewer.post("/reports/schedules", data=form, follow_redirects=False).status_code == 403
    assert admin.post("/reports/schedules", data=form, follow_redirects=False).status_code == 303
    shown = viewer.get("/reports/schedules").text
    assert "the last month" in shown
    assert "Declare one" not in shown
    assert "Build the report" not in viewer.get("/reports").text
    for path in ("/reports/regimes", "/reports/regimes/eu-ai-act", "/reports/verify"):
        assert viewer.get(path).status_code == 200, path
    assert viewer.get("/reports/regimes/gdpr").status_code == 422
