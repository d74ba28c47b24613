"""The cookie of a page session: which API key signed in and until when, signed with the session key."""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Final

SESSION_LENGTH: Final = timedelta(hours=12)


def session_value(prefix: str, key: bytes, until: datetime) -> str:
    """The cookie value for the API key with this prefix, valid until `until`, signed with the session key."""
    payload = base64.urlsafe_b64encode(json.dumps([prefix, int(until.timestamp())]).encode()).decode().rstrip("=")
    return f"{payload}.{_signature(payload, key)}"


def session_prefix(cookie: str, key: bytes, now: datetime) -> str | None:
    """The prefix of the API key that a cookie names; None if the signature is wrong or the session has expired."""
    payload, _, signature = cookie.partition(".")
    if not cookie.isascii() or not hmac.compare_digest(_signature(payload, key), signature):
        return None
    prefix, until = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(prefix) if now.timestamp() < until else None


def _signature(payload: str, key: bytes) -> str:
    return hmac.new(key, b"assay page session:" + payload.encode(), hashlib.sha256).hexdigest()
