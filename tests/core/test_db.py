"""The metadata database: the same behaviour on SQLite and PostgreSQL."""

import random
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError

from core.db import Database
from core.db_reading import reading
from governance.tables import ApiKey, LedgerEntry
from monitor.tables import Model, SpecRevision
from tests.databases import SQLITE_FIRST, SQLITE_ONLY

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def key(name: str, at: datetime = AT) -> ApiKey:
    return ApiKey(name=name, prefix=name[:16], hash=name, role="viewer", created_at=at, created_by="test")


def test_a_row_written_is_read_in_the_next_transaction(database: Database) -> None:
    with database.write() as db:
        db.add(key("one"))
    with database.read() as db:
        assert db.scalars(select(ApiKey.name)).all() == ["one"]


def test_times_come_back_in_utc_to_the_microsecond(database: Database) -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-5)))
    with database.write() as db:
        db.add(key("one", elsewhere))
    with database.read() as db:
        read = db.scalars(select(ApiKey.created_at)).one()
    assert read == AT
    assert read.tzinfo is UTC


def test_times_compare_in_queries_whatever_zone_they_were_given_in(database: Database) -> None:
    with database.write() as db:
        db.add_all([key("early", AT), key("late", AT + timedelta(minutes=1))])
    bound = (AT + timedelta(seconds=30)).astimezone(timezone(timedelta(hours=9)))
    with database.read() as db:
        assert db.scalars(select(ApiKey.name).where(ApiKey.created_at > bound)).all() == ["late"]


def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="naive time"), database.write() as db:
        db.add(key("one", datetime(2026, 3, 1)))


def test_an_error_undoes_the_whole_unit_of_work(database: Database) -> None:
    with pytest.raises(RuntimeError, match="half-way"), database.write() as db:
        db.add(key("one"))
        db.flush()
        raise RuntimeError("half-way")
    with database.read() as db:
        assert db.scalars(select(ApiKey)).all() == []


def test_reading_never_commits(database: Database) -> None:
    with database.read() as db:
        db.add(key("one"))
        db.flush()
    with database.read() as db:
        assert db.scalars(select(ApiKey)).all() == []


def test_a_reader_sees_one_moment(database: Database) -> None:
    """What is compared row by row, such as rows with the ledger, must not change between two queries."""
    names = select(ApiKey.name).order_by(ApiKey.name)
    with database.write() as db:
        db.add(key("one"))
    elsewhere = reading(database.engine.url.render_as_string(hide_password=False))
    with database.read() as db, elsewhere as other, database.read_connection() as plain:
        readers = (db, other, plain)
        assert [one.execute(names).scalars().all() for one in readers] == [["one"]] * 3
        with database.write() as writing:
            writing.add(key("two"))
        assert [one.execute(names).scalars().all() for one in readers] == [["one"]] * 3
    with database.read() as db:
        assert db.scalars(names).all() == ["one", "two"]


def test_objects_stay_readable_after_the_commit(database: Database) -> None:
    with database.write() as db:
        db.add(made := key("one"))
    assert made.name == "one"


def test_a_foreign_key_to_nothing_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as db:
        db.add(SpecRevision(model_id=uuid4(), revision=1, digest="", document={}, author="a", created_at=AT))


def test_whole_numbers_have_64_bits(database: Database) -> None:
    with database.write() as db:
        db.add(LedgerEntry(index=2**40, kind="k", subject="s", entry="{}", leaf=""))
    with database.read() as db:
        assert db.scalars(select(LedgerEntry.index)).one() == 2**40


def test_json_and_uuid_survive_the_way_there_and_back(database: Database) -> None:
    document = {"text": "Straße \U0001f600", "list": [1, 2.5, None, True], "deep": {"a": {}}}
    with database.write() as db:
        db.add(model := Model(name="m", created_at=AT))
        db.flush()
        db.add(SpecRevision(model_id=model.id, revision=1, digest="d", document=document, author="a", created_at=AT))
    with database.read() as db:
        row = db.scalars(select(SpecRevision)).one()
    assert row.document == document
    assert row.model_id == model.id


def test_writers_at_the_same_time_all_get_through(database: Database) -> None:
    """Each reads before it writes: on SQLite this fails at once unless the write lock is taken at BEGIN."""
    with database.write() as db:
        db.add(Model(name="counter", revision=0, created_at=AT))
    errors: list[Exception] = []

    def count() -> None:
        try:
            for _ in range(10):
                with database.write() as db:
                    row = db.scalars(select(Model).with_for_update()).one()
                    row.revision += 1
        except Exception as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with database.read() as db:
        assert db.scalars(select(Model.revision)).one() == 40


@SQLITE_FIRST
def test_a_reader_is_not_held_up_by_a_writer(database: Database) -> None:
    with database.write() as writer:
        writer.add(key("one"))
        writer.flush()
        with database.read() as reader:
            assert reader.scalars(select(ApiKey)).all() == []


@SQLITE_ONLY
def test_sqlite_keeps_what_it_acknowledged(database: Database) -> None:
    with database.read() as db:
        pragmas = {name: db.execute(text(f"pragma {name}")).scalar_one() for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_what_was_deleted_from_an_index_is_in_no_byte_of_the_file(tmp_path: Path) -> None:
    """An entry that moved when its page was divided left a copy behind, which no later delete clears."""
    name, found = "person-of-interest", []
    for seed in (2, 3):
        file = tmp_path / f"{seed}.db"
        database, made = Database(f"sqlite:///{file}", durable=False), random.Random(seed)
        with database.engine.begin() as connection:
            connection.execute(text("create table t (id integer primary key, m text, name text, at text)"))
            connection.execute(text("create index i on t (m, name, at)"))
            for row in range(300):
                other = made.random() >= 0.3 and f"channel={'abcdefgh'[made.randrange(8)] * made.randrange(3, 30)}"
                values = {"row": row, "m": "m" * 32, "name": other or name, "at": f"2026-{made.randrange(10**6):06}"}
                connection.execute(text("insert into t values (:row, :m, :name, :at)"), values)
        with database.engine.begin() as connection:
            connection.execute(text("delete from t where name = :name"), {"name": name})
        database.forget()
        database.dispose()
        found += [path.name for path in tmp_path.iterdir() if name.encode() in path.read_bytes()]
    assert found == []
