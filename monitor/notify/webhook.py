"""Signed webhooks: a CloudEvent in structured JSON, signed as Standard Webhooks says.

A receiver computes HMAC-SHA256 of `ID.TIMESTAMP.BODY` with the secret and compares it with the header
`webhook-signature`; `webhook-id` is the same for every try of one message. https://www.standardwebhooks.com
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from monitor.notify.outcome import Outcome

SCHEMES: Final = ("webhook+https", "webhook+http")
MEDIA_TYPE: Final = "application/cloudevents+json; charset=utf-8"
MIN_SECRET_BYTES: Final = 16
MAX_PAUSE_S: Final = 3600  # that a receiver may ask for


def target(url: str) -> tuple[str, bytes]:
    """The address and the secret in the URL of a webhook channel.

    Raises:
        ValueError: the URL has no host or no secret; the message does not repeat it.
    """
    fix = "write webhook+https://HOST/PATH?secret=whsec_..., with the secret from: openssl rand -base64 32"
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise ValueError(f"the URL cannot be read; {fix}") from None
    if not host:
        raise ValueError(f"the URL names no host; {fix}")
    if "@" in parts.netloc:
        raise ValueError(f"the URL has a user, which is not sent; the signature is what tells who posts; {fix}")
    # Not parse_qs: base64 has plus signs, which would become spaces.
    pairs = [part.partition("=") for part in parts.query.split("&") if part]
    secrets = [unquote(value) for name, _, value in pairs if name == "secret"]
    if len(secrets) != 1:
        raise ValueError(f"the URL has no secret to sign with, or several; {fix}")
    try:
        secret = base64.b64decode(secrets[0].removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(f"the secret is not base64; {fix}") from None
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret is shorter than {MIN_SECRET_BYTES} bytes; {fix}")
    query = "&".join(f"{name}{equals}{value}" for name, equals, value in pairs if name != "secret")
    scheme = parts.scheme.lower().removeprefix("webhook+")
    return urlunsplit((scheme, parts.netloc, parts.path or "/", query, "")), secret


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def cloud_event(*, id: str, source: str, kind: str, subject: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """A CloudEvent 1.0 in structured JSON."""
    document = {
        "specversion": "1.0", "id": id, "source": source, "type": kind, "subject": subject, "time": at.isoformat(),
        "datacontenttype": "application/json", "data": data,
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def post(url: str, message_id: str, body: bytes, *, at: datetime, limit_s: float) -> Outcome:
    """Post one event; only an answer 2xx means that it arrived. A redirect is not followed."""
    from core.bounded_http import UnreachableError, request  # httpcore2, which only a delivery needs

    address, secret = target(url)
    timestamp = int(at.timestamp())
    headers = {
        "Host": urlsplit(address).netloc, "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)), "User-Agent": "Assay", "Connection": "close", "webhook-id": message_id,
        "webhook-timestamp": str(timestamp), "webhook-signature": signature(secret, message_id, timestamp, body),
    }  # fmt: skip
    try:
        answer = request("POST", address, headers, body, limit_s=limit_s)
    except UnreachableError as error:
        return Outcome(delivered=False, reason=str(error))
    if 200 <= answer.status < 300:
        return Outcome(delivered=True)
    if 300 <= answer.status < 400:
        return Outcome(
            delivered=False, reason=f"answered {answer.status}, a redirect, which is not followed; set its address"
        )
    pause = answer.headers.get("retry-after", "")
    after = min(int(pause), MAX_PAUSE_S) if pause.isdecimal() and len(pause) < 10 else None
    return Outcome(delivered=False, reason=f"answered {answer.status}", retry_after_s=after)
