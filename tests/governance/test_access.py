"""Keys: made once, kept as a hash, refused when unknown, malformed or revoked; each change is in the ledger."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from core.db import Database
from core.errors import ForbiddenError, InvalidError, UnauthenticatedError
from governance.access.api_keys import (
    KeyNameTakenError,
    KeyNotFoundError,
    LastAdminError,
    all_keys,
    authenticate,
    create_key,
    first_admin,
    reset_admin,
    revoke_key,
)
from governance.access.roles import Caller, Permission, Role, require
from governance.ledger.read import ledger_lines, ledger_size
from monitor.site import Site
from tests.databases import SQLITE_FIRST

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def make(database: Database, name: str, role: Role) -> tuple[str, str]:
    with database.write() as db:
        row, key = create_key(db, name=name, role=role, actor="admin", now=NOW)
        return row.prefix, key


@SQLITE_FIRST
def test_a_key_is_known_by_its_secret_which_is_not_kept(database: Database) -> None:
    prefix, key = make(database, "shop", Role.PRODUCER)
    with database.read() as db:
        assert authenticate(db, key, NOW) == Caller("shop", Role.PRODUCER, prefix)
        stored = str(db.execute(text("select * from api_key")).all()) + str(list(ledger_lines(db)))
        assert key.rpartition("_")[2] not in stored
        assert [row.name for row in all_keys(db)] == ["shop"]


SPOILT: list[Callable[[str], str]] = [
    lambda key: "",
    lambda key: key + "0",
    lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
    lambda key: key.replace("assay_", "other_"),
    lambda key: "assay_" + key.split("_")[1],
    lambda key: "assay_0000000000_" + key.rpartition("_")[2],
    lambda key: key.upper(),
]


@SQLITE_FIRST
@pytest.mark.parametrize("spoil", SPOILT)
def test_a_key_that_is_not_exactly_right_is_refused(database: Database, spoil: Callable[[str], str]) -> None:
    _, key = make(database, "shop", Role.PRODUCER)
    with database.read() as db, pytest.raises(UnauthenticatedError):
        authenticate(db, spoil(key), NOW)


@SQLITE_FIRST
def test_a_revoked_key_is_refused_and_the_ledger_tells_its_story(database: Database) -> None:
    prefix, key = make(database, "shop", Role.VIEWER)
    with database.write() as db:
        revoke_key(db, prefix=prefix, actor="admin", now=NOW)
        revoke_key(db, prefix=prefix, actor="admin", now=NOW)
    with database.read() as db:
        with pytest.raises(UnauthenticatedError):
            authenticate(db, key, NOW)
        entries = [json.loads(line) for line in ledger_lines(db)]
    assert [(e["kind"], e["subject"]) for e in entries] == [
        ("key.created", f"key:{prefix}"),
        ("key.revoked", f"key:{prefix}"),
    ]


@SQLITE_FIRST
def test_the_admin_key_of_the_machine_is_replaced_and_people_keep_theirs(site: Site) -> None:
    first = first_admin(site)
    assert first is not None
    person, own = make(site.database, "a.lindqvist", Role.ADMIN)
    second_row, second, revoked = reset_admin(site)
    third_row, third, revoked_again = reset_admin(site)
    assert [second_row.name, third_row.name] == ["admin-2", "admin-3"]
    assert (len(revoked), revoked_again) == (1, [second_row.prefix])
    with site.database.read() as db:
        for lost in (first, second):
            with pytest.raises(UnauthenticatedError):
                authenticate(db, lost, NOW)
        assert authenticate(db, third, NOW).role is Role.ADMIN
        assert authenticate(db, own, NOW).prefix == person
        lines = list(ledger_lines(db))
    last = [json.loads(line) for line in lines][-3:]
    assert [e["kind"] for e in last] == ["key.created", "key.revoked", "key.admin_reset"]
    assert last[-1]["body"] == {"name": "admin-3", "revoked": [second_row.prefix]}
    assert all(key.rpartition("_")[2] not in str(lines) for key in (first, second, third, own))


@SQLITE_FIRST
def test_an_admin_key_can_be_made_where_none_was_left(site: Site) -> None:
    row, key, revoked = reset_admin(site)
    assert (row.name, revoked) == ("admin", [])
    with site.database.read() as db:
        assert authenticate(db, key, NOW).may(Permission.KEY_MANAGE)


@SQLITE_FIRST
def test_a_key_that_could_not_be_recorded_does_not_exist(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as db:
        create_key(db, name="shop", role=Role.VIEWER, actor="admin", now=NOW)
        raise RuntimeError
    with database.read() as db:
        assert all_keys(db) == []
        assert ledger_size(db) == 0


@SQLITE_FIRST
def test_a_name_is_given_once(database: Database) -> None:
    prefix, _ = make(database, "shop", Role.VIEWER)
    with database.write() as db:
        revoke_key(db, prefix=prefix, actor="admin", now=NOW)
    with pytest.raises(KeyNameTakenError):
        make(database, "shop", Role.VIEWER)
    with pytest.raises(InvalidError):
        make(database, " ", Role.VIEWER)


@SQLITE_FIRST
def test_an_unknown_key_cannot_be_revoked(database: Database) -> None:
    with database.write() as db, pytest.raises(KeyNotFoundError):
        revoke_key(db, prefix="none", actor="admin", now=NOW)


@SQLITE_FIRST
def test_the_first_admin_key_is_made_once(site: Site) -> None:
    key = first_admin(site)
    assert key is not None
    assert first_admin(site) is None
    with site.database.read() as db:
        assert authenticate(db, key, NOW).role is Role.ADMIN


@SQLITE_FIRST
def test_the_last_admin_key_stays_until_there_is_another(site: Site) -> None:
    key = first_admin(site)
    assert key is not None
    with site.database.write() as db, pytest.raises(LastAdminError):
        revoke_key(db, prefix=key.split("_")[1], actor="admin", now=NOW)
    make(site.database, "second", Role.ADMIN)
    with site.database.write() as db:
        revoke_key(db, prefix=key.split("_")[1], actor="second", now=NOW)
    assert first_admin(site) is None


def test_a_missing_permission_names_the_role_and_who_has_it() -> None:
    with pytest.raises(
        ForbiddenError, match=r"role validator lacks the permission model\.write; it is granted to: operator, admin"
    ):
        require(Caller("v", Role.VALIDATOR, "p"), Permission.MODEL_WRITE)
    require(Caller("v", Role.VALIDATOR, "p"), Permission.VALIDATE)
