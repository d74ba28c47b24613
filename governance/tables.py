"""Ledger, checkpoints and API keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Keyed


class LedgerEntry(Base):
    """One line of the log. `entry` is the exact canonical JSON; the other columns repeat parts of it for look-up."""

    __tablename__ = "ledger_entry"

    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(64), index=True)
    subject: Mapped[str] = mapped_column(String(200), index=True)
    entry: Mapped[str]
    leaf: Mapped[str] = mapped_column(String(64))


class LedgerHead(Base):
    """The single locked row that gives the log its order; `frontier` lets the next leaf be added in O(log n)."""

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


class ApiKey(Keyed, Base):
    """A key is shown once; only its hash is kept."""

    __tablename__ = "api_key"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))
    revoked_at: Mapped[datetime | None]
