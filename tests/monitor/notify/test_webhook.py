"""Signed webhooks: read by the CloudEvents SDK, signed as the specification's example, bounded by time and bytes."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from monitor.notify import webhook
from monitor.notify.webhook import post, signature, target
from tests.databases import SQLITE_ONLY
from tests.monitor.notify import receivers
from tests.monitor.notify.conftest import SECRET, Configured, alarm, deliver
from tests.monitor.notify.conftest import webhook as url_of
from tests.monitor.notify.receivers import Receiver, answer, http_receiver

NOW = datetime(2026, 1, 5, tzinfo=UTC)
Answers = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as running:
        yield running


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks, as its libraries test it."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@SQLITE_ONLY
def test_an_alert_arrives_as_a_cloud_event_that_the_sdk_reads(configured: Configured, receiver: Receiver) -> None:
    site = configured(channels__hook=url_of(receiver.address), notify__base_url="https://assay.example.com/")
    alarm(site, notify={"runbook": "https://wiki.example.com/loans"})
    assert deliver(site, "hook")
    posted = receiver.posted[0]
    event = from_http_event(HTTPMessage(posted.headers, posted.body))
    data: Any = event.get_data()
    assert event.get_type() == "assay.incident.opened"
    assert event.get_source() == "https://assay.example.com"
    assert event.get_subject() == "model:loans"
    assert event.get_id() == posted.headers["webhook-id"]
    assert data["sentence"].startswith("Since 2 Jan amount of loans changed: ")
    assert data["links"]["Runbook"] == "https://wiki.example.com/loans"
    assert data["links"]["Alert"].startswith("https://assay.example.com/alerts/")
    assert data["links"]["Incident"].startswith("https://assay.example.com/incidents/")
    assert data["harm"]["hurt"] in ("yes", "by an estimate", "no", "unknown")
    assert data["harm"]["sentence"]
    assert data["for_whom"].endswith("answered all of its rows.")
    signed = f"{event.get_id()}.{posted.headers['webhook-timestamp']}.".encode() + posted.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert posted.headers["webhook-signature"] == f"v1,{expected}"
    assert SECRET.encode() not in posted.path.encode() + posted.body


@pytest.mark.parametrize(
    ("answers", "delivered", "reason"),
    [
        (answer(204, b""), True, ""),
        (answer(200, b"x" * 10_000_000), True, ""),
        (receivers.endless, True, ""),
        (answer(500), False, "answered 500"),
        (answer(302, Location="http://127.0.0.1:1/elsewhere"), False, "a redirect, which is not followed"),
        (receivers.hang, False, "no answer within 1 s"),
        (receivers.drip, False, "no answer within 1 s"),
        (receivers.garbage, False, "the answer is not HTTP"),
    ],
)
def test_whatever_a_receiver_does_takes_little_time_and_memory(
    receiver: Receiver, answers: Answers, delivered: bool, reason: str
) -> None:
    receiver.answers = answers
    began = time.monotonic()
    outcome = post(url_of(receiver.address), "m1", b"{}", at=NOW, limit_s=1)
    assert time.monotonic() - began < 10  # far more than the limit of 1 s, for a busy machine
    assert outcome.delivered is delivered
    assert reason in outcome.reason
    assert len(receiver.posted) == 1


def test_a_redirect_is_not_followed_to_another_machine(receiver: Receiver) -> None:
    with http_receiver() as other:
        receiver.answers = answer(307, Location=f"http://{other.address}/")
        assert not post(url_of(receiver.address), "m1", b"{}", at=NOW, limit_s=5).delivered
        assert other.posted == []


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid"])
def test_a_machine_that_is_not_there_is_said_without_its_address(address: str) -> None:
    outcome = post(url_of(address), "m1", b"{}", at=NOW, limit_s=5)
    assert outcome.reason == "no connection"


@pytest.mark.parametrize(
    "url",
    [
        "webhook+https://example.com/hook",
        "webhook+https:///hook?secret=" + SECRET,
        "webhook+https://example.com/?secret=hunter2",
        "webhook+https://example.com/?secret=aHVudGVyMg==",  # 7 bytes
        f"webhook+https://user:hunter2@example.com/?secret={SECRET}",
        f"webhook+https://example.com/?secret={SECRET}&secret={SECRET}",
        "webhook+https://[::1/?secret=" + SECRET,
    ],
)
def test_a_url_that_cannot_work_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="write webhook") as caught:
        target(url)
    assert "hunter2" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_rest_of_the_query_is_sent_as_it_was_written() -> None:
    address, _ = target(f"webhook+https://example.com:8443/a%20b?x=1+2&secret={SECRET}&y=%2F")
    assert address == "https://example.com:8443/a%20b?x=1+2&y=%2F"


def test_an_event_is_plain_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        webhook.cloud_event(id="1", source="s", kind="k", subject="m", at=NOW, data={"value": float("nan")})
    event = webhook.cloud_event(id="1", source="s", kind="k", subject="m", at=NOW, data={"text": "Zürich"})
    assert json.loads(event)["data"] == {"text": "Zürich"}
