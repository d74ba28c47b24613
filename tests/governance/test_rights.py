"""A key's rights are those of the ledger: a row that was changed behind its back is refused, shown and alarmed."""

from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from api.app import create_app
from api.processes import system_alarms
from core.db import Database
from core.errors import InvalidError, UnauthenticatedError
from governance.access.api_keys import KeyNameTakenError, authenticate, create_key, first_admin, key_named, revoke_key
from governance.access.rights import RightsDifferError, all_differences, holder, record_secrets, rights_of
from governance.access.roles import Role
from governance.ledger import guard
from governance.ledger.append import append_entry
from governance.ledger.read import ledger_entries
from governance.tables import ApiKey
from monitor.site import Site
from monitor.tables import Alert
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def make(database: Database, name: str, role: Role = Role.VIEWER, owner: str | None = None) -> str:
    with database.write() as db:
        return create_key(db, name=name, role=role, actor="admin", owner=owner, now=NOW)[1]


def change(database: Database, sql: str) -> None:
    with database.write() as db:
        guard.remove(db.connection())
        db.execute(text(sql))


def revoke(database: Database, key: str) -> None:
    with database.write() as db:
        revoke_key(db, prefix=key.split("_")[1], actor="admin", now=NOW)


CHANGES = {
    "update api_key set role = 'admin' where name = 'eye'": "its role is admin, and the ledger says viewer",
    "update api_key set owner = 'Bea' where name = 'eye'": "its owner is Bea, and the ledger says Ann",
    "update api_key set owner = null where name = 'eye'": "its owner is nobody, and the ledger says Ann",
    "update api_key set name = 'eve' where name = 'eye'": "its name is eve, and the ledger says eye",
    "update api_key set created_by = 'assay' where name = 'eye'": "its creator is assay, and the ledger says admin",
    "delete from ledger_entry where kind = 'key.created'": "the ledger has no entry of its creation",
    "update ledger_entry set entry = replace(entry, 'viewer', 'admin') where kind = 'key.created'":
        "the ledger has no entry of its creation",
}  # fmt: skip


@pytest.mark.parametrize("sql", CHANGES)
def test_a_changed_key_is_refused_with_what_was_changed(site: Site, sql: str) -> None:
    key = make(site.database, "eye", owner="Ann")
    change(site.database, sql)
    with site.database.read() as db, pytest.raises(RightsDifferError, match=CHANGES[sql]):
        authenticate(db, key, NOW)


def test_neither_another_secret_nor_a_revocation_taken_back_nor_a_row_of_ones_own_opens_anything(site: Site) -> None:
    boss, own, gone = make(site.database, "boss", Role.ADMIN), make(site.database, "own"), make(site.database, "gone")
    revoke(site.database, gone)
    change(site.database, "update api_key set revoked_at = null where name = 'gone'")
    with site.database.read() as db:
        with pytest.raises(RightsDifferError, match="was revoked, and its row says it was not"):
            authenticate(db, gone, NOW)
        rows = {row.name: row for row in db.scalars(select(ApiKey))}
    change(site.database, "delete from api_key where name = 'own'")
    change(site.database, f"update api_key set hash = '{rows['own'].hash}' where name = 'boss'")
    forged = "_".join(("assay", boss.split("_")[1], own.split("_")[2]))
    with site.database.read() as db:
        with pytest.raises(UnauthenticatedError):  # the hash is over the whole key
            authenticate(db, forged, NOW)
        row = db.scalars(select(ApiKey).where(ApiKey.name == "boss")).one()
        with pytest.raises(RightsDifferError, match="its secret is another one"):
            holder(rights_of(db), row)
        found = all_differences(db)
    assert found[own.split("_")[1]] == "own: its row is gone, and a key is never removed, only revoked"
    revoke(site.database, own)  # a row that was lost comes back as a revoked one
    with site.database.read() as db:
        assert own.split("_")[1] not in all_differences(db)
    change(site.database, "delete from api_key where name = 'own'")
    with site.database.read() as db:
        assert own.split("_")[1] in all_differences(db)
    revoke(site.database, own)
    with site.database.read() as db:
        assert own.split("_")[1] not in all_differences(db)


REVOKED = {
    "name = 'eve'": "its name is eve, and the ledger says eye",
    "role = 'admin'": "its role is admin, and the ledger says viewer",
    "owner = 'Bea'": "its owner is Bea, and the ledger says Ann",
    "models = '[]'": "its scope is no model, and the ledger says all models",
}


@pytest.mark.parametrize("column", REVOKED)
def test_a_revoked_key_that_was_changed_is_named_until_it_is_revoked_again(site: Site, column: str) -> None:
    key = make(site.database, "eye", owner="Ann")
    prefix = key.split("_")[1]
    revoke(site.database, key)
    change(site.database, f"update api_key set {column} where prefix = '{prefix}'")
    with site.database.read() as db:
        assert all_differences(db) == {prefix: f"{'eve' if 'eve' in column else 'eye'}: {REVOKED[column]}"}
    with pytest.raises(KeyNameTakenError):  # whoever acted under a name keeps it
        make(site.database, "eye")
    revoke(site.database, key)
    with site.database.read() as db:
        assert all_differences(db) == {}
        assert len(ledger_entries(db, ("key.revoked",))) == 1


def test_a_key_is_revoked_though_another_row_was_given_its_name(site: Site) -> None:
    eye, ear = make(site.database, "eye"), make(site.database, "ear")
    change(site.database, "update api_key set name = 'x' where name = 'eye'")
    change(site.database, "update api_key set name = 'eye' where name = 'ear'")
    for key in (eye, ear, eye):
        revoke(site.database, key)
    with site.database.read() as db:
        assert all_differences(db) == {}


def test_a_difference_alarms_until_the_key_is_as_the_ledger_says(site: Site) -> None:
    key = make(site.database, "eye")
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"})
    change(site.database, "update api_key set role = 'admin' where name = 'eye'")
    for _ in range(2):
        answer = client.get("/api/v1/keys")
        assert (answer.status_code, answer.json()["code"]) == (403, "rights_differ")

    def alert() -> Alert:
        with site.database.write() as db:
            system_alarms.watch_rights(site, db, site.clock.now())
        with site.database.read() as db:
            return db.scalars(select(Alert).where(Alert.metric == "changed_rights")).one()

    assert (alert().state, alert().severity) == ("open", "critical")
    assert "its role is admin, and the ledger says viewer" in alert().sentence
    with site.database.write() as db:
        assert len(ledger_entries(db, ("access.denied",))) == 1
        db.execute(text("update alert set state = 'resolved' where metric = 'changed_rights'"))
    assert alert().state == "resolved"
    change(site.database, "update api_key set role = 'viewer' where name = 'eye'")
    assert alert().episodes[-1]["ended"] is not None
    assert client.get("/api/v1/models").status_code == 200


def test_a_refusal_for_want_of_a_permission_is_recorded_once_a_minute(site: Site) -> None:
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {make(site.database, 'eye')}"})
    assert [client.get("/api/v1/keys").status_code for _ in range(3)] == [403] * 3
    assert client.post("/login", data={"key": "assay_0_0"}).status_code == 401
    with site.database.read() as db:
        found = [(e["actor"], e["body"]["code"]) for e in ledger_entries(db, ("access.denied",))]
    assert found == [("eye", "forbidden"), ("assay", "unauthenticated")]


def test_a_transaction_that_is_undone_gives_no_right(site: Site) -> None:
    with pytest.raises(RuntimeError), site.database.write() as db:
        _, key = create_key(db, name="eye", role=Role.ADMIN, actor="admin", now=NOW)
        authenticate(db, key, NOW)
        raise RuntimeError
    other = make(site.database, "other")
    with site.database.write() as db:
        assert authenticate(db, other, NOW).name == "other"
        assert key_named(db, "eye") is None


def test_the_secrets_of_an_earlier_release_are_recorded_once(site: Site) -> None:
    old, changed = make(site.database, "old"), make(site.database, "changed")
    with site.database.write() as db:  # the entries that an earlier release has written
        guard.remove(db.connection())
        db.execute(text("delete from ledger_entry"))
        db.execute(text("delete from ledger_head"))
        for name, key in (("old", old), ("changed", changed)):
            body = {"name": name, "role": "viewer"}
            append_entry(db, kind="key.created", actor="admin", subject=f"key:{key.split('_')[1]}", body=body, at=NOW)
        db.execute(text("update api_key set role = 'admin' where name = 'changed'"))
    with site.database.read() as db:
        assert authenticate(db, old, NOW).role is Role.VIEWER
    for _ in range(2):
        with site.database.write() as db:
            record_secrets(db, NOW)
    with site.database.read() as db:
        (entry,) = ledger_entries(db, ("key.secrets_recorded",))
        assert list(entry["body"]["secrets"]) == [old.split("_")[1]]
        assert authenticate(db, old, NOW).role is Role.VIEWER
        with pytest.raises(RightsDifferError):
            authenticate(db, changed, NOW)


RESERVED = [
    "assay", "Assay", "scheduler", "scheduIer", "sched-uler", "аssay", "аѕѕау", "ａｓｓａｙ", "ꓮꓢꓢꓮꓬ", "as\u0301say",
    "assay\u200b", "\u202eyassa", "sh\u2066op", "\u00adshop", "shop\u3164", "...", "", "n" * 101, "o\ufe00ps",
    "Shop", "SHOP", "ѕһор", "ｓhop", "shóp", "sh0p", "ops–1", "ops-l", "Оps-2",
]  # fmt: skip
PLAIN = ["a.lindqvist", "shop-2", "data-policy", "Иван", "Ünal", "王伟 wang", "ops-2", "nightly job (CI)"]


def test_names_that_stand_for_the_service_or_look_like_another_are_refused(site: Site) -> None:
    first_admin(site)
    for name in ("shop", "ops-1"):
        make(site.database, name)
    for name in RESERVED:
        with pytest.raises(InvalidError, match="name"):
            make(site.database, name)
    for name in PLAIN:
        make(site.database, name)


def test_a_key_of_an_earlier_release_keeps_its_name(site: Site) -> None:
    key = make(site.database, "plain")
    with site.database.write() as db:
        guard.remove(db.connection())
        db.execute(text("delete from ledger_entry"))
        db.execute(text("delete from ledger_head"))
        db.execute(text("update api_key set name = 'scheduler'"))
        body = {"name": "scheduler", "role": "viewer"}
        append_entry(db, kind="key.created", actor="admin", subject=f"key:{key.split('_')[1]}", body=body, at=NOW)
    with site.database.read() as db:
        assert authenticate(db, key, NOW).name == "scheduler"
