"""Requests that are answered once, however often they are sent: an idempotency key and what was asked with it."""

from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import digest
from core.errors import InvalidError
from retrain import store
from retrain.errors import RequestReusedError
from retrain.tables import TriggerDecision

HEADER: Final = "Idempotency-Key"
MAX_CHARS: Final = 255


@dataclass(frozen=True, slots=True)
class Request:
    key: str
    digest: str

    @classmethod
    def of(cls, key: str, asked: object) -> Self:
        """A request by its key and what is asked.

        Raises:
            InvalidError: the key is empty, too long, or has other characters than printable ASCII.
        """
        if not (key.strip() and key.isascii() and key.isprintable() and len(key) <= MAX_CHARS):
            raise InvalidError(
                f"{HEADER} is {key[:60]!r}; send 1 to {MAX_CHARS} printable ASCII characters, such as "
                "nightly-2026-11-28",
                field=HEADER, value=key[:60],
            )  # fmt: skip
        return cls(key, digest(asked))


def answered(db: Session, model_id: UUID, request: Request) -> TriggerDecision | None:
    """The decision that a request got when it came first; the caller holds the model's row, so two cannot race.

    Raises:
        RequestReusedError: the same key came with another request.
    """
    found = store.requested(db, model_id, request.key)
    if found is not None and found.request_digest != request.digest:
        raise RequestReusedError(request.key, found.id)
    return found
