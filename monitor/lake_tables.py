"""Mapped classes of what the ledger knows about the files of Delta tables."""

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base


class LakeRecord(Base):
    """How far the files of one Delta table are recorded in the ledger; its locked row orders the entries."""

    __tablename__ = "lake_record"

    model: Mapped[str] = mapped_column(String(63), primary_key=True)
    table: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(default=-1)  # last Delta version recorded
    previous: Mapped[str | None] = mapped_column(String(80))  # digest of the last ledger entry
    checkpoints: Mapped[list[Any]]  # names of the Delta checkpoints recorded and still there


class LakeFile(Base):
    """A data file of the newest recorded version of a table, stored so that its bytes are hashed only once."""

    __tablename__ = "lake_file"

    model: Mapped[str] = mapped_column(String(63), primary_key=True)
    table: Mapped[str] = mapped_column(String(63), primary_key=True)
    path: Mapped[str] = mapped_column(String(200), primary_key=True)
    sha256: Mapped[str | None] = mapped_column(String(80))
    rows: Mapped[int]
