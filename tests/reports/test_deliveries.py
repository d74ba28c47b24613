"""A report from its request over HTTP to channels, with every pull and every delivery in the ledger."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.processes.deliveries import WATCH
from core.canonical import sha256
from core.clock import ManualClock
from core.errors import InvalidError
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from governance.ledger.read import ledger_entries
from monitor.notify import channels
from monitor.notify.deliver import deliver_next
from monitor.site import Site
from reports import service
from tests.databases import SQLITE_ONLY
from tests.monitor.notify.conftest import Configured, webhook
from tests.monitor.notify.receivers import http_receiver, smtp_receiver
from tests.reports.story import tell
from tests.reports.story_teller import END

pytestmark = SQLITE_ONLY
REPORTS = "/api/v1/models/support-intents/reports"
MARCH = "support-intents-audit-2026-03"


@contextmanager
def told(site: Site, clock: ManualClock) -> Iterator[TestClient]:
    clock.move_to(END + timedelta(days=40))
    with site.database.write() as db:
        tell(site, db)
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        yield client


def entries(site: Site, *kinds: str) -> list[dict[str, Any]]:
    with site.database.read() as db:
        return list(ledger_entries(db, kinds))


def sent(site: Site, *names: str) -> None:
    for name in names:
        assert deliver_next(site, channels.channel(site.settings, name), WATCH, worker="w"), name


def test_a_report_goes_where_it_was_asked_to_go_and_the_ledger_says_so(
    configured: Configured, clock: ManualClock, tmp_path: Path
) -> None:
    with smtp_receiver() as mailbox, http_receiver() as receiver:
        site = configured(
            channels__mail=f"mailto://127.0.0.1:{mailbox.port}?smtp=127.0.0.1&from=assay@example.com&to=ml@example.com",
            channels__hook=webhook(receiver.address), channels__vault=f"file://{tmp_path}/vault",
            notify__base_url="https://assay.example.com",
        )  # fmt: skip
        channels.check(site.settings)
        with told(site, clock) as client:
            body = {
                "period": "2026-03", "zone": "Europe/Berlin", "regimes": ["eu-ai-act"],
                "deliver_to": ["mail", "hook", "vault"],
            }  # fmt: skip
            asked = client.post(REPORTS, json=body)
            assert asked.status_code == 202, asked.text
            assert (asked.json()["period_from"], asked.json()["zone"]) == ("2026-02-28T23:00:00Z", "Europe/Berlin")
            report = asked.json()["id"]
            service.build(site, UUID(report))
            sent(site, "mail", "hook", "vault")
            _pulled(site, client, report)
            states = {
                d["channel"]: d["state"] for d in client.get(f"/api/v1/reports/{report}/deliveries").json()["items"]
            }
    assert states == {"mail": "sent", "hook": "sent", "vault": "sent"}
    [mail] = mailbox.mails
    names = [part.get_filename() for part in mail.walk() if part.get_filename()]
    assert names == [f"{MARCH}.pdf"]
    text = mail.get_body(("plain",))
    assert text is not None
    assert "2026-03-01 to 2026-03-31, Europe/Berlin" in text.get_content()
    event = json.loads(receiver.posted[0].body)
    assert (event["type"], event["data"]["period"]["name"]) == ("assay.report.ready", "2026-03")
    kept = sorted(path.name for path in (tmp_path / "vault" / "support-intents").iterdir())
    assert {f"{MARCH}.json", f"{MARCH}.pdf", f"{MARCH}.zip"} <= set(kept)
    digests = {file["name"]: file["digest"] for file in event["data"]["files"]}
    told_of = entries(site, "report.delivered")
    assert [(e["body"]["channel"], e["body"]["files"]) for e in told_of] == [
        (name, digests) for name in ("mail", "hook", "vault")
    ]  # fmt: skip
    assert "example.com" not in json.dumps(told_of)


def _pulled(site: Site, client: TestClient, report: str) -> None:
    """Each pull is an entry before the file leaves; who holds the file already is handed nothing."""
    got = client.get(f"/api/v1/reports/{report}.json")
    assert got.headers["content-disposition"] == f'attachment; filename="{MARCH}.json"'
    assert (
        client.get(f"/api/v1/reports/{report}.json", headers={"If-None-Match": got.headers["etag"]}).status_code == 304
    )
    assert client.get(f"/api/v1/reports/{report}.csv").status_code in (200, 404)
    pulls = [e for e in entries(site, "report.pulled") if e["body"]["file"].endswith(".json")]
    [pull] = pulls
    assert pull["body"]["sha256"] == sha256(got.content)
    assert (pull["actor"], pull["body"]["report"], pull["body"]["file"]) == ("admin", report, f"{MARCH}.json")
    document = got.json()
    assert document["period"]["words"] == "2026-03-01 to 2026-03-31, Europe/Berlin"
    [pack] = document["regime_packs"]
    assert (pack["id"], len(pack["requirements"])) == ("eu-ai-act", 20)
    assert {line["state"] for line in pack["requirements"]} == {"not yet applicable"}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"period": "2026-03", "regimes": ["gdpr"]}, "regimes", "eu-ai-act, iso-42001"),
    ({"period": "2026-13"}, "period", "write a quarter such as 2026-Q3"),
    ({"period": "2027-Q1"}, "period", "has not begun"),
    ({"period": "2026-03", "from": "2026-03-01"}, "period", "give one of them"),
    ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-02T00:00:00Z"}, "from", "the same time"),
    ({"from": "2026-03-03", "to": "2026-03-01"}, "from", "swap"),
    ({"from": "0001-01-01", "to": "0001-02-01"}, "from", "1700|calendar"),
    ({"from": "2031-01-01", "to": "2031-02-01"}, "from", "lies ahead"),
    ({"to": "2026-03-01"}, "from", "without from"),
    ({"period": "2026-03", "zone": "Europe/Berlim"}, "zone", "Europe/Berlin"),
    ({"from": "yesterday", "to": "2026-03-01"}, "from", "neither a day"),
]  # fmt: skip


def test_a_request_that_cannot_be_met_names_its_field_and_the_fix(site: Site, clock: ManualClock) -> None:
    with told(site, clock) as client:
        for body, field, words in REFUSED:
            answer = client.post(REPORTS, json=body)
            assert (answer.status_code, answer.json().get("field")) == (422, field), (body, answer.text)
            assert any(word in answer.json()["detail"] for word in words.split("|")), answer.text
        assert client.post(REPORTS, json={"period": "2026-03", "deliver_to": ["nowhere"]}).status_code == 404
        assert client.get("/api/v1/regimes/gdpr").status_code == 422
        assert client.get("/api/v1/regimes/sr-26-2").json()["applicable_from"] == "2026-04-17"


def test_a_caller_of_some_models_sees_the_reports_and_schedules_of_these(site: Site, clock: ManualClock) -> None:
    with told(site, clock) as client:
        schedule = {"model": "support-intents", "every": "quarter"}
        mine = client.post("/api/v1/report-schedules", json=schedule).json()
        client.post(REPORTS, json={"period": "2026-03"})
        with site.database.write() as db:
            _, secret = create_key(
                db, name="other", role=Role.OPERATOR, actor="assay", owner="Ann", now=clock.now(), models=["loans"]
            )
        other = {"Authorization": f"Bearer {secret}"}
        for path in ("/api/v1/reports", "/api/v1/report-schedules"):
            assert len(client.get(path).json()["items"]) == 1
            assert client.get(path, headers=other).json()["items"] == []
        assert client.delete(f"/api/v1/report-schedules/{mine['id']}", headers=other).status_code == 404
        owner = {"owner": "ml-support@example.com", "every": "month"}
        assert client.post("/api/v1/report-schedules", json=owner, headers=other).status_code == 403
        assert client.delete(f"/api/v1/report-schedules/{mine['id']}").status_code == 200
        assert client.get("/api/v1/report-schedules").json()["items"] == []


@pytest.mark.parametrize("url", ["s3://", "file://host/x", "file:///"])
def test_a_store_without_a_place_is_refused_at_the_start(configured: Configured, url: str) -> None:
    with pytest.raises(InvalidError, match="names no"):
        channels.check(configured(channels__vault=url).settings)
