"""People: declared once, known by an id alone in the ledger, refused when a row says otherwise than the ledger."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db import Database
from core.errors import InvalidError, UnauthenticatedError
from governance.access.api_keys import authenticate, change_key, create_key, declare_owner, revoke_key, rotate_key
from governance.access.attempts import Attempt, LockedError, check_open, count_failure
from governance.access.people import (
    PersonNotFoundError,
    PersonTakenError,
    change_rights,
    create_person,
    disable_person,
    enable_person,
    find_person,
    record_people,
)
from governance.access.rights import RightsDifferError, all_differences, person_caller, rights_of
from governance.access.roles import Role
from governance.access.sign_in import reset_password
from governance.access.signers import signer
from governance.ledger import guard
from governance.ledger.append import append_entry
from governance.ledger.read import ledger_lines
from tests.databases import SQLITE_FIRST

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def add(
    database: Database, who: str, role: Role = Role.VIEWER, models: list[str] | None = None, name: str | None = None,
    email: str | None = None,
) -> None:  # fmt: skip
    with database.write() as db:
        create_person(db, who=who, role=role, models=models, actor="admin", now=NOW, name=name, email=email)


@SQLITE_FIRST
def test_the_ledger_knows_a_person_by_the_id_alone(database: Database) -> None:
    add(database, "ada", Role.OPERATOR, ["loans", "cards", "loans"], name="Ada  Lovelace", email="ada@example.com")
    with database.read() as db:
        caller = person_caller(rights_of(db), find_person(db, "ada"))
        lines = list(ledger_lines(db))
    assert (caller.name, caller.person, caller.models) == ("person:ada", "ada", frozenset({"cards", "loans"}))
    assert json.loads(lines[0])["body"] == {"role": "operator", "models": ["cards", "loans"]}
    assert b"Lovelace" not in b"".join(lines)
    assert b"example.com" not in b"".join(lines)


WRONG_IDS = ["", "Ada", "ada lovelace", "ada@example.com", "аda", "a" * 65, "-ada", "assay", "scheduler", "system"]


@SQLITE_FIRST
@pytest.mark.parametrize("who", WRONG_IDS)
def test_an_id_that_cannot_be_one_is_refused(database: Database, who: str) -> None:
    with pytest.raises(InvalidError):
        add(database, who)


@SQLITE_FIRST
def test_nobody_is_declared_twice_or_looks_like_another(database: Database) -> None:
    add(database, "ada", name="Ada Lovelace", email="ada@example.com")
    for who, name in (("ada", None), ("other", "ADA lovelace"), ("other", "ada@example.com"), ("other", "ada")):
        with pytest.raises(PersonTakenError):
            add(database, who, name=name)
    add(database, "bob-1")
    with pytest.raises(InvalidError, match="looks like"):
        add(database, "bob-l")
    with pytest.raises(InvalidError, match="begins as people do"), database.write() as db:
        create_key(db, name="Person:ada", role=Role.VIEWER, actor="admin", now=NOW)


SQL = {
    "update person set role = 'admin'": "its role is admin, and the ledger says viewer",
    "update person set models = null": "its scope is all models, and the ledger says loans",
    """update person set models = '["loans", "cards"]'""": "its scope is loans, cards, and the ledger says loans",
    "update person set disabled_at = null": "",
    "update person set password = 'x'": "what it signs in with is not what the ledger names",
    "update person set issuer = 'https://evil.example', subject = 'me'": "what it signs in with",
    "delete from ledger_entry where kind = 'person.created'": "the ledger has no entry of its creation",
}


@SQLITE_FIRST
@pytest.mark.parametrize("sql", SQL)
def test_a_person_changed_in_the_database_is_refused_and_named(database: Database, sql: str) -> None:
    add(database, "ada", models=["loans"])
    with database.write() as db:
        guard.remove(db.connection())
        db.execute(text(sql))
    with database.read() as db:
        if not SQL[sql]:
            assert all_differences(db) == {}
            return
        with pytest.raises(RightsDifferError, match=SQL[sql]):
            person_caller(rights_of(db), find_person(db, "ada"))
        assert SQL[sql] in all_differences(db)["person:ada"]


@SQLITE_FIRST
def test_neither_a_row_of_ones_own_nor_a_return_from_being_disabled_gives_a_right(database: Database) -> None:
    add(database, "ada", Role.ADMIN)
    with database.write() as db:
        disable_person(db, "ada", actor="admin", now=NOW)
        db.execute(text("update person set disabled_at = null"))
        db.execute(
            text(
                "insert into person (id, role, temporary, created_at, created_by) "
                "values ('eve', 'admin', false, '2026-01-05 00:00:00', 'admin')"
            )
        )
    with database.read() as db:
        for who, found in (("ada", "enabled, and the ledger does not"), ("eve", "no entry of its creation")):
            with pytest.raises(RightsDifferError, match=found):
                person_caller(rights_of(db), find_person(db, who))
    with database.write() as db:
        db.execute(text("delete from person where id = 'ada'"))
    with database.read() as db:
        assert "its row is gone" in all_differences(db)["person:ada"]
    with database.write() as db:  # from the ledger
        enable_person(db, "ada", actor="admin", now=NOW)
    with database.read() as db:
        assert person_caller(rights_of(db), find_person(db, "ada")).role is Role.ADMIN


@SQLITE_FIRST
def test_rights_are_changed_by_an_entry_and_put_right_by_it(database: Database) -> None:
    add(database, "ada", Role.VIEWER)
    with database.write() as db:
        db.execute(text("update person set role = 'admin'"))
        change_rights(db, "ada", models=["loans"], actor="admin", now=NOW)
    with database.read() as db:
        caller = person_caller(rights_of(db), find_person(db, "ada"))
    assert (caller.role, caller.models) == (Role.VIEWER, frozenset({"loans"}))
    with database.write() as db, pytest.raises(PersonNotFoundError):
        change_rights(db, "eve", role=Role.ADMIN, actor="admin", now=NOW)
    with database.write() as db, pytest.raises(InvalidError, match="no name of a model"):
        change_rights(db, "ada", models=["Loans!"], actor="admin", now=NOW)


@SQLITE_FIRST
def test_a_key_of_a_disabled_person_opens_nothing(database: Database) -> None:
    add(database, "ada", name="Ada Lovelace")
    with database.write() as db:
        _, key = create_key(db, name="cli", role=Role.OPERATOR, owner="ada lovelace", actor="admin", now=NOW)
    with database.read() as db:
        assert authenticate(db, key, NOW).person == "ada"
    with database.write() as db:
        disable_person(db, "ada", actor="admin", now=NOW)
    with database.read() as db, pytest.raises(UnauthenticatedError):
        authenticate(db, key, NOW)


@SQLITE_FIRST
def test_a_person_and_the_keys_of_that_person_sign_as_one(database: Database) -> None:
    with database.write() as db:
        create_key(db, name="cli", role=Role.OPERATOR, owner="Ada Lovelace", actor="admin", now=NOW)
        create_key(db, name="other", role=Role.OPERATOR, owner="ada.lovelace", actor="admin", now=NOW)
        first, second, third = (signer(db, who) for who in ("cli", "other", "person:ada.lovelace"))
        assert first.marks & third.marks
        assert second.marks & first.marks
        assert third.named == "ada.lovelace"


@SQLITE_FIRST
def test_owners_of_an_earlier_release_become_people_who_can_do_nothing_but_hold_their_keys(database: Database) -> None:
    with database.write() as db:
        for name, owner in (("a", "Ada Lovelace"), ("b", "ADA LOVELACE"), ("c", "王伟"), ("d", None)):
            _, _key = create_key(db, name=name, role=Role.APPROVER, actor="admin", now=NOW)
            prefix = _key.split("_")[1]
            if owner:
                db.execute(text("update api_key set owner = :o where prefix = :p"), {"o": owner, "p": prefix})
                body = {"name": name, "owner": owner}
                append_entry(db, kind="key.owner_declared", actor="admin", subject=f"key:{prefix}", body=body, at=NOW)
    for _ in range(2):
        with database.write() as db:
            record_people(db, NOW)
    with database.read() as db:
        people = rights_of(db).people
        assert all_differences(db) == {}
    assert len(people) == 2
    assert "ada.lovelace" in people
    assert all((state.role, state.models) == ("viewer", ()) for state in people.values())


@SQLITE_FIRST
def test_a_key_expires_is_rotated_and_changes_its_role(database: Database) -> None:
    later = NOW + timedelta(hours=1)
    with database.write() as db:
        row, key = create_key(
            db, name="app", role=Role.PRODUCER, models=["loans"], expires_at=later, actor="admin", now=NOW
        )
        prefix = row.prefix
        with pytest.raises(InvalidError, match="has passed"):
            create_key(db, name="old", role=Role.PRODUCER, expires_at=NOW, actor="admin", now=NOW)
    with database.read() as db:
        assert authenticate(db, key, NOW).models == frozenset({"loans"})
        with pytest.raises(UnauthenticatedError):
            authenticate(db, key, later)
    with database.write() as db:
        _, second = rotate_key(db, prefix, overlap=timedelta(minutes=5), expires_at=None, actor="admin", now=NOW)
    with database.read() as db:
        assert authenticate(db, second, later).name == authenticate(db, key, NOW).name == "app"
        with pytest.raises(UnauthenticatedError):
            authenticate(db, key, NOW + timedelta(minutes=5))
    with database.write() as db:
        _, third = rotate_key(db, prefix, actor="admin", now=NOW)
        change_key(db, prefix, role=Role.VIEWER, models=None, actor="admin", now=NOW)
    with database.read() as db:
        with pytest.raises(UnauthenticatedError):
            authenticate(db, second, NOW)
        caller = authenticate(db, third, NOW)
        assert (caller.role, caller.models) == (Role.VIEWER, None)
        assert all_differences(db) == {}


@SQLITE_FIRST
@pytest.mark.parametrize("sql", [
    "update api_key set models = null",
    "update api_key set expires_at = null",
    "update api_key set earlier_hash = hash",
    "update api_key set earlier_until = '2030-01-01 00:00:00'",
])  # fmt: skip
def test_a_key_whose_scope_end_or_earlier_secret_was_changed_is_refused(database: Database, sql: str) -> None:
    with database.write() as db:
        _, key = create_key(
            db, name="app", role=Role.PRODUCER, models=["loans"], expires_at=NOW + timedelta(days=1), actor="admin",
            now=NOW,
        )  # fmt: skip
        db.execute(text(sql))
    with database.read() as db, pytest.raises(RightsDifferError):
        authenticate(db, key, NOW)


@SQLITE_FIRST
def test_a_new_password_ends_the_lock_of_the_account(database: Database) -> None:
    add(database, "ada")
    attempt = Attempt("192.0.2.7", "ada")
    with database.write() as db:
        assert "account" in count_failure(db, attempt, b"key", NOW, failures=1, lock=timedelta(minutes=15))
    elsewhere = Attempt("192.0.2.8", "ada")
    with database.read() as db, pytest.raises(LockedError):
        check_open(db, elsewhere, b"key", NOW)
    with database.write() as db:
        reset_password(db, "ada", key=b"key", actor="assay", now=NOW)
        check_open(db, elsewhere, b"key", NOW)


@SQLITE_FIRST
def test_no_entry_makes_good_what_was_written_into_the_row_of_a_key(database: Database) -> None:
    with database.write() as db:
        row, _ = create_key(db, name="app", role=Role.VIEWER, models=["loans"], actor="admin", now=NOW)
        prefix = row.prefix
        db.execute(text("update api_key set role = 'admin'"))
    changes: list[Callable[[Session], object]] = [
        lambda db: change_key(db, prefix, models=None, actor="admin", now=NOW),
        lambda db: rotate_key(db, prefix, actor="admin", now=NOW),
        lambda db: declare_owner(db, prefix=prefix, owner="Eve", actor="admin", now=NOW),
    ]
    for change in changes:
        with pytest.raises(RightsDifferError, match="the ledger says viewer"), database.write() as db:
            change(db)
    with database.write() as db:
        assert revoke_key(db, prefix=prefix, actor="admin", now=NOW).revoked_at == NOW
        assert all_differences(db) == {}


@SQLITE_FIRST
def test_a_temporary_password_stays_one_and_a_new_one_links_no_account(database: Database) -> None:
    add(database, "ada")
    with database.write() as db:
        reset_password(db, "ada", key=b"key", actor="admin", now=NOW)
        assert all_differences(db) == {}
        db.execute(text("update person set temporary = false"))
    with database.read() as db, pytest.raises(RightsDifferError, match="its password is temporary"):
        person_caller(rights_of(db), find_person(db, "ada"))
    with database.write() as db:
        db.execute(text("update person set issuer = 'https://evil.example', subject = 'me'"))
    with database.write() as db:
        reset_password(db, "ada", key=b"key", actor="admin", now=NOW)
    with database.read() as db:
        assert (find_person(db, "ada").subject, all_differences(db)) == (None, {})
