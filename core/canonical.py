"""RFC 8785 canonical JSON and the digests taken over it."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import rfc8785

from core.errors import InvalidError


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds, the one spelling of a time inside canonical JSON."""
    if at.tzinfo is None:
        raise InvalidError(f"time {at.isoformat()} has no zone; give it in UTC", value=at.isoformat())
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        plain = {str(k): _plain(v) for k, v in value.items()}
        if len(plain) != len(value):
            raise InvalidError(f"keys {sorted(map(repr, value))} are not distinct once spelled as strings")
        return plain
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        return [_plain(v) for v in value]
    return value


def canonical(value: Any) -> bytes:
    """Canonical bytes of a JSON value (times and UUIDs are spelled as strings first).

    Raises:
        InvalidError: the value has no JSON form (NaN, infinity, bytes, an integer beyond 2**53).

    Source: RFC 8785.
    """
    try:
        return rfc8785.dumps(_plain(value))
    except rfc8785.CanonicalizationError as error:
        raise InvalidError(f"value has no canonical JSON form: {error}") from error


def sha256(data: bytes) -> str:
    """`sha256:` followed by the lower-case hexadecimal digest of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """Digest of a JSON value over its canonical form."""
    return sha256(canonical(value))
