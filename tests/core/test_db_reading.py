"""A database is read without being changed, on a medium on which nothing may be written too."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.db import Database
from core.db_reading import reading

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a database of one row, which others may read."""
    made = tmp_path / "home"
    made.mkdir()
    database = Database(url(made))
    with database.write() as db:
        db.execute(text("create table t (x)"))
        db.execute(text("insert into t values (1)"))
    database.dispose()
    opened = [path for path in (made, *made.parents) if path.stat().st_uid == os.getuid() and path != Path("/")]
    modes = {path: path.stat().st_mode for path in opened}
    for path in opened:
        path.chmod(path.stat().st_mode | 0o055)
    yield made
    for path, mode in modes.items():
        path.chmod(mode)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'assay.db'}"


def count(db: Session) -> int:
    return int(db.execute(text("select count(*) from t")).scalar_one())


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Without permission to write into a folder; root, to whom permissions say nothing, becomes somebody else."""
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_database_without_write_permission_is_read(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with read_only(folder), reading(url(folder)) as db:
        assert count(db) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_changes_that_a_killed_process_left_in_the_write_ahead_file_are_read_too(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(folder / "assay.db", isolation_level=None)) as db:
        db.execute("insert into t values (2)")
        copy.mkdir()
        for name in ("assay.db", "assay.db-wal"):  # as the process left them
            shutil.copyfile(folder / name, copy / name)
    with read_only(copy), reading(url(copy)) as session:
        assert count(session) == 2
    assert sorted(path.name for path in copy.iterdir()) == ["assay.db", "assay.db-wal"]


def test_a_database_in_use_is_read_and_never_changed(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "assay.db", isolation_level=None)) as db:
        db.execute("insert into t values (2)")
        with reading(url(folder)) as session:
            assert count(session) == 2
            with pytest.raises(OperationalError, match="readonly"):
                session.execute(text("insert into t values (3)"))


def test_a_database_that_is_not_there_is_not_made(folder: Path) -> None:
    with pytest.raises(OperationalError), reading(f"sqlite:///{folder / 'none.db'}") as session:
        count(session)
    assert not (folder / "none.db").exists()


def test_text_that_is_no_text_is_read(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "assay.db")) as db:
        db.execute("update t set x = cast(x'61ff' as text)")
        db.commit()
    with reading(url(folder)) as session:
        assert session.execute(text("select x from t")).scalar_one() == "a\udcff"
