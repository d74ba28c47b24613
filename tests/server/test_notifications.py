"""Notifications of a real service: delivered through kills, and no secret of a channel ever comes out."""

import time
from collections.abc import Callable
from datetime import timedelta

import httpx2

from bench import alerts
from core.clock import SystemClock
from tests.monitor.notify.receivers import answer, http_receiver
from tests.server.conftest import SPEC
from tests.service import Service, assay

SECRET = "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIy"
TOKEN = "TokenHunter2Hunter2Hunter"


def test_no_alert_is_lost_while_the_service_is_killed_and_the_receiver_fails_half_the_time() -> None:
    """The small form of `make bench-alerts`."""
    found = alerts.run(alerts=48, incidents=8, kills=2, seed=0)
    assert found["lost"][0] == 0
    assert found["broken_promises"][0] == 0


def cli(service: Service, *arguments: str, code: int = 0) -> str:
    done = assay(*arguments, environ={"ASSAY_CLIENT__URL": service.url, "ASSAY_CLIENT__KEY": service.admin_key})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_channels_are_shown_tested_and_repaired_without_showing_their_urls(
    start_server: Callable[..., Service],
) -> None:
    with http_receiver() as receiver:
        service = start_server(
            environ={
                "ASSAY_CHANNELS__HOOK": f"webhook+http://{receiver.address}/{TOKEN}?secret={SECRET}",
                "ASSAY_CHANNELS__CHAT": f"json://user:{TOKEN}@{receiver.address}/room", "ASSAY_NOTIFY__GATHER_S": "0",
                "ASSAY_NOTIFY__ATTEMPTS": "2", "ASSAY_NOTIFY__BACKOFF_S": "0.1", "ASSAY_LOG__LEVEL": "debug",
                "ASSAY_ROUTES__CHAT__SEVERITY": "critical",
                "ASSAY_HEARTBEAT__URL": f"http://{receiver.address}/ping/{TOKEN}", "ASSAY_HEARTBEAT__EVERY_S": "1",
            }
        )  # fmt: skip
        said = [
            cli(service, "notify", "list"),
            cli(service, "notify", "test"),
            cli(service, "notify", "list", "--json"),
        ]
        assert "hook: delivered" in said[1]
        assert "chat: delivered" in said[1]
        receiver.answers = answer(500)
        said += [cli(service, "notify", "test", "hook", code=1), cli(service, "notify", "test", "nosuch", code=3)]
        assert "not delivered: answered 500" in said[3]
        with httpx2.Client(base_url=service.url, headers=service.headers(), timeout=60) as client:
            assert client.put("/api/v1/models/support-intents", json=SPEC).status_code == 201
            paths = ("/api/v1/channels", "/api/v1/outbox", "/metrics", "/channels", "/api/v1/openapi.json")
            said += [client.get(path).text for path in paths]
            page = client.post("/channels/hook/test", headers={"origin": service.url}).text
            assert "The test was not delivered to hook: answered 500" in page
            said.append(page)
            beats = [p for p in receiver.posted if p.path.startswith("/ping/")]
            deadline = time.monotonic() + 60
            while not beats and time.monotonic() < deadline:
                time.sleep(0.2)
                beats = [p for p in receiver.posted if p.path.startswith("/ping/")]
            assert beats
        until = (SystemClock().now() + timedelta(hours=1)).isoformat()
        said += [
            cli(service, "maintenance", "add", "support-intents", "--to", until, "--reason", "new database"),
            cli(service, "maintenance", "list"), cli(service, "deploy", "support-intents", "--version", "v9"),
        ]  # fmt: skip
        ending = cli(service, "maintenance", "list", "--json")
        cli(service, "maintenance", "end", ending.split('"id": "')[1].split('"')[0])
        service.stop()
    everything = "\n".join([*said, service.log.read_text()])
    assert SECRET.removeprefix("whsec_") not in everything
    assert TOKEN not in everything
    stored = b"".join(p.read_bytes() for p in service.home.rglob("*") if p.is_file())
    assert TOKEN.encode() not in stored
    assert SECRET.encode() not in stored


def test_a_channel_that_cannot_work_stops_the_start_without_its_url() -> None:
    environ = {"ASSAY_CHANNELS__OPS": f"slack://{TOKEN}", "ASSAY_HOME": "/nonexistent/never"}
    done = assay("worker", environ=environ)
    assert done.returncode == 2
    assert "channels.ops" in done.stderr
    assert TOKEN not in done.stdout + done.stderr
