"""Ledger, checkpoints, people, API keys, page sessions and erasures."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, Integer, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Bound, Keyed

CHANGE_STATES = ("waiting", "applied", "rejected", "outdated")
ERASURE_STATES = ("queued", "running", "done", "failed")


class LedgerEntry(Base):
    """One line of the log. `entry` is the exact canonical JSON; the other columns repeat parts of it for queries."""

    __tablename__ = "ledger_entry"
    __table_args__ = (Index("ix_ledger_entry_subject_kind", "subject", "kind", "index"),)  # what became of an alert

    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(64), index=True)
    subject: Mapped[str] = mapped_column(String(200), index=True)
    entry: Mapped[str]
    leaf: Mapped[str] = mapped_column(String(64))


class LedgerSubtree(Base):
    """The root of a complete subtree of 256^level leaves, so that a proof reads few of them; it follows from them."""

    __tablename__ = "ledger_subtree"

    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[str] = mapped_column(String(64))


class LedgerHead(Base):
    """The single row that writers lock, which gives the log its order. `frontier` makes adding a leaf O(log n)."""

    __tablename__ = "ledger_head"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int]
    root: Mapped[str] = mapped_column(String(64))
    frontier: Mapped[dict[str, Any]]


class LedgerCheckpoint(Base):
    __tablename__ = "ledger_checkpoint"

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[str] = mapped_column(String(64))
    note: Mapped[str]
    at: Mapped[datetime]


class LedgerCheck(Keyed, Base):
    """A verification of the ledger that somebody asked for. It is a note for people: `assay verify` is the proof."""

    __tablename__ = "ledger_check"

    state: Mapped[str] = mapped_column(String(16))  # queued, running, done or failed
    asked_by: Mapped[str] = mapped_column(String(200))
    asked_at: Mapped[datetime] = mapped_column(index=True)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    entries: Mapped[int | None]
    signed: Mapped[int | None]  # entries that a checkpoint covers
    findings: Mapped[list[Any]]  # the first of them, in words
    total: Mapped[int]
    words: Mapped[str | None]


class LedgerBinding(Base):
    """The leaves under the root that an entry names: rows as they were added, changed or removed in one transaction."""

    __tablename__ = "ledger_binding"

    entry: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    leaves: Mapped[bytes] = mapped_column(LargeBinary)  # governance.verify.rows, compressed


class Person(Base):
    """Somebody with a name. The id is what the ledger says of a person; the name and the address stay here."""

    __tablename__ = "person"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(200))
    email: Mapped[str | None] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    models: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # null: all
    password: Mapped[str | None] = mapped_column(String(200))  # its argon2id hash
    totp: Mapped[str | None] = mapped_column(String(200))  # secret of the second factor, sealed with the session key
    totp_step: Mapped[int | None]  # of the newest code that was taken; none is taken twice
    recovery: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # hashes of recovery codes
    temporary: Mapped[bool] = mapped_column(default=False)  # the password was set by an admin; the person sets another
    issuer: Mapped[str | None] = mapped_column(String(200))  # of the person's provider, and who the person is there
    subject: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))
    used_at: Mapped[datetime | None]  # last signed in
    disabled_at: Mapped[datetime | None]


class AnchorState(Base):
    """How far an anchor of the settings has received the checkpoints, and since when it has failed to."""

    __tablename__ = "ledger_anchor"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int | None]  # of the last checkpoint that it took
    delivered_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    error: Mapped[str | None]
    attempts: Mapped[int]
    next_try_at: Mapped[datetime | None]


class ApiKey(Keyed, Base):
    """A key is shown once; only its hash is kept."""

    __tablename__ = "api_key"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    models: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # null: all
    owner: Mapped[str | None] = mapped_column(String(200))  # the person who holds it; declared once
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[datetime | None]
    earlier_hash: Mapped[str | None] = mapped_column(String(64))  # of the secret before the last rotation
    earlier_until: Mapped[datetime | None]
    used_at: Mapped[datetime | None]  # exact to some minutes
    revoked_at: Mapped[datetime | None]


class PageSession(Keyed, Base):
    """A visit to the pages, opened with a key or by a person; the cookie is kept only as a hash."""

    __tablename__ = "page_session"

    token: Mapped[str] = mapped_column(String(64), unique=True)  # hash of the cookie
    prefix: Mapped[str | None] = mapped_column(String(16), index=True)  # of the key
    person: Mapped[str | None] = mapped_column(String(64), index=True)  # one of the two
    seal: Mapped[str] = mapped_column(String(64))  # over all that gives a right, with a key that is not in the database
    opened_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_because: Mapped[str | None] = mapped_column(String(40))


class SignInFailure(Base):
    """Failed sign-ins and bad keys of one client or one account, for all API processes together."""

    __tablename__ = "sign_in_failure"

    subject: Mapped[str] = mapped_column(String(80), primary_key=True)  # `client:` or `account:` and a keyed digest
    failures: Mapped[int]
    first_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]


class Erasure(Keyed, Bound, Base):
    """The erasure of one person's rows. The subject is known only by its keyed digest."""

    unbound: ClassVar[Mapping[str, str]] = {
        "subject": "a keyed digest of a person is written nowhere else",
        "steps": "how far a job has got", "found": "facts for later steps, emptied at the end",
        "error": "why the last try failed",
    }  # fmt: skip

    __tablename__ = "erasure"
    __table_args__ = (
        CheckConstraint(f"state in {ERASURE_STATES}", name="state"),
        Index(
            "uq_erasure_unfinished", "subject", unique=True,
            sqlite_where=text("state <> 'done'"), postgresql_where=text("state <> 'done'"),
        ),
    )  # fmt: skip

    subject: Mapped[str] = mapped_column(String(64))
    models: Mapped[list[Any]]  # names of the requested models; empty means every model
    state: Mapped[str] = mapped_column(String(16), default="queued")
    steps: Mapped[list[Any]]  # names of the finished steps
    found: Mapped[dict[str, Any] | None]  # facts about deleted rows that later steps need; emptied at the end
    proof: Mapped[str | None] = mapped_column(String(80))  # artifact
    requested_entry: Mapped[int]
    done_entry: Mapped[int | None]
    error: Mapped[str | None]
    requested_by: Mapped[str] = mapped_column(String(100))
    requested_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]


class ChangeRequest(Keyed, Bound, Base):
    """A spec that loosens something and waits for people; what they agree to is its digest, which the ledger holds."""

    __tablename__ = "change_request"
    __table_args__ = (
        CheckConstraint(f"state in {CHANGE_STATES}", name="state"),
        Index("ix_change_request_model_asked", "model", "asked_at"),
    )

    model: Mapped[str] = mapped_column(String(63))
    digest: Mapped[str] = mapped_column(String(80))  # of the document
    base: Mapped[str] = mapped_column(String(80))  # digest of the spec that it was compared with
    document: Mapped[dict[str, Any]]
    loosened: Mapped[list[Any]]  # monitor.spec.loosening.Loosening as JSON
    needed: Mapped[int] = mapped_column(Integer)  # people that must agree
    asked_by: Mapped[str] = mapped_column(String(100))
    asked_entry: Mapped[int] = mapped_column(BigInteger)
    asked_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    decided_at: Mapped[datetime | None]
