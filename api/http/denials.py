"""Refusals in the ledger, a few for many; and what fails too often is locked."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from fastapi import Request

from governance.access.attempts import CLIENT_FACTOR, Attempt, count_failure
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.site import Site

DENIALS_S: Final = 60.0  # refusals of one kind for one key are one entry in this time
MAX_DENIALS: Final = 100  # entries about refusals in that time, of one process
KEYS_FACTOR: Final = 4  # bad keys of a client count apart from its sign-ins, and so many times as many may fail


def denied(request: Request, subject: str, actor: str, code: str, facts: Mapping[str, Any]) -> None:
    """Record a refusal in the ledger: the first of its kind in DENIALS_S, so that nobody fills the ledger by asking."""
    state, now = request.app.state, time.monotonic()
    kind = (subject, code, str(facts.get("permission")))
    if now < state.denials.get(kind, 0.0) or sum(until > now for until in state.denials.values()) >= MAX_DENIALS:
        return
    state.denials = {k: until for k, until in state.denials.items() if until > now} | {kind: now + DENIALS_S}
    site: Site = state.site
    body = {"code": code, **facts}
    with site.database.write() as db:
        append_entry(db, kind="access.denied", actor=actor, subject=subject, body=body, at=site.clock.now())


def client_of(request: Request) -> str:
    return request.client.host if request.client is not None else "unknown"


def failed(request: Request, attempt: Attempt, subject: str) -> None:
    """Count a failed sign-in; say in the ledger what it has locked.

    Args:
        subject: the account in the ledger's words; `session` where nobody is meant.
    """
    site: Site = request.app.state.site
    settings = site.settings.access
    with site.database.write() as db:
        locked = count_failure(
            db, attempt, site.keys.session, site.clock.now(), failures=settings.failures,
            lock=timedelta(minutes=settings.lock_minutes),
        )  # fmt: skip
    for kind in locked:
        about = "session" if kind == "client" else subject
        denied(request, about, SYSTEM_ACTOR, "locked", {"permission": kind, "minutes": settings.lock_minutes})


def bad_key(request: Request) -> float | None:
    """Count a bad key or token of a client; returns for how many seconds more it is refused unread, None if it is not.

    Kept in this process alone: a key has 256 random bits, so this only keeps log and database quiet. A key that is
    right is always taken.
    """
    state, now, client = request.app.state, time.monotonic(), client_of(request)
    site: Site = state.site
    lock_s = site.settings.access.lock_minutes * 60
    begun, failures = state.bad_keys.get(client, (now, 0))
    begun, failures = (now, 0) if now - begun > lock_s else (begun, failures)
    if len(state.bad_keys) > 10_000:
        state.bad_keys = {}
    state.bad_keys[client] = (begun, failures + 1)
    if failures < site.settings.access.failures * CLIENT_FACTOR * KEYS_FACTOR:
        return None
    return max(1.0, begun + lock_s - now)
