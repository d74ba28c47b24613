"""People sign in with a password and a code; what fails too often is locked, and never for everybody."""

import re
from dataclasses import replace
from datetime import timedelta

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.app import create_app
from core.clock import ManualClock
from core.errors import InvalidError
from core.settings_access import AccessSettings
from governance.access.api_keys import create_key
from governance.access.passwords import read_password
from governance.access.people import change_rights, create_person, disable_person, enable_person
from governance.access.roles import Role
from governance.access.sign_in import reset_password
from governance.ledger.read import ledger_entries
from monitor.site import Site
from tests.databases import SQLITE_FIRST

PASSWORD = "three green lamps over Oslo"
ORIGIN = {"Origin": "http://testserver"}


def declared(site: Site, who: str = "ada", role: Role = Role.VIEWER) -> str:
    """A person with a temporary password."""
    with site.database.write() as db:
        create_person(db, who=who, role=role, models=None, actor="admin", now=site.clock.now())
        return reset_password(db, who, key=site.keys.session, actor="admin", now=site.clock.now())


def strict(site: Site) -> Site:
    """Three failures lock an account, fifteen a client."""
    return replace(site, settings=site.settings.model_copy(update={"access": AccessSettings(failures=3)}))


def client_of(site: Site) -> TestClient:
    return TestClient(create_app(site), follow_redirects=False, headers=ORIGIN)


def sign_in(client: TestClient, password: str, code: str = "", who: str = "ada") -> int:
    return client.post("/login", data={"person": who, "password": password, "code": code}).status_code


def field(page: str, pattern: str) -> str:
    found = re.search(pattern, page)
    assert found, page
    return found[1]


def enrolled(site: Site, clock: ManualClock, client: TestClient, who: str = "ada") -> tuple[pyotp.TOTP, list[str]]:
    """A person who has set a password and an app; signed out again."""
    page = client.post("/login", data={"person": who, "password": declared(site, who)}).text
    totp = pyotp.TOTP(field(page, r"Secret: <code>(\w+)</code>"))
    assert "otpauth://totp/" in page
    codes = re.findall(r"<li><code>([\w-]+)</code>", page)
    form = {
        "form": field(page, r'name="form" value="([^"]+)"'), "password": PASSWORD, "again": PASSWORD,
        "code": totp.at(clock.now()),
    }  # fmt: skip
    assert client.post("/login/enrol", data=form | {"code": "000000"}).status_code == 422
    assert client.post("/login/enrol", data=form | {"password": "short", "again": "short"}).status_code == 422
    done = client.post("/login/enrol", data=form)
    assert (done.status_code, client.get("/").status_code) == (200, 200)
    assert client.post("/login/enrol", data=form).status_code == 422  # it was used
    assert client.post("/logout").status_code == 303
    clock.move_to(clock.now() + timedelta(seconds=30))
    return totp, codes


@SQLITE_FIRST
def test_a_person_sets_a_password_and_an_app_and_signs_in_with_both(site: Site, clock: ManualClock) -> None:
    client = client_of(site)
    totp, recovery = enrolled(site, clock, client)
    code = totp.at(clock.now())
    for wrong in ((PASSWORD, ""), (PASSWORD, "123"), ("wrong " + PASSWORD, code), (PASSWORD, "9" * 6)):
        assert sign_in(client, *wrong) == 401
    assert sign_in(client, PASSWORD, code) == 303
    assert "ada, viewer" in client.get("/").text
    client.post("/logout")
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 303
    assert sign_in(client, PASSWORD, code) == 401  # a code is taken once
    assert sign_in(client, PASSWORD, totp.at(clock.now() - timedelta(seconds=30))) == 401  # nor is an older one
    clock.move_to(clock.now() + timedelta(seconds=30))
    assert sign_in(client, PASSWORD, totp.at(clock.now())) == 303
    assert [sign_in(client, PASSWORD, c) for c in (recovery[0], recovery[0], recovery[1])] == [303, 401, 303]
    with site.database.read() as db:
        opened = ledger_entries(db, ("session.opened",))
        assert {e["body"]["way"] for e in opened} == {"password"}
        assert {e["actor"] for e in opened} == {"person:ada"}
        assert PASSWORD not in str(ledger_entries(db, ("person.credentials", "access.denied", "person.recovery_used")))


@SQLITE_FIRST
def test_a_temporary_password_ends_and_an_unknown_person_answers_like_a_wrong_password(
    site: Site, clock: ManualClock
) -> None:
    client, password = client_of(site), declared(site)
    answers = [
        client.post("/login", data={"person": who, "password": word}).text
        for who, word in (("ada", "wrong"), ("nobody", "wrong"), ("nobody\u202e" * 90, password), ("", password))
    ]
    assert answers[0] == answers[1] == answers[2]
    clock.move_to(clock.now() + timedelta(hours=72))
    assert sign_in(client, password) == 401


@SQLITE_FIRST
def test_a_session_ends_with_the_rights_the_password_and_the_person(site: Site, clock: ManualClock) -> None:
    client = client_of(site)
    totp, _ = enrolled(site, clock, client)

    def opened() -> None:
        clock.move_to(clock.now() + timedelta(seconds=30))
        assert sign_in(client, PASSWORD, totp.at(clock.now())) == 303
        assert client.get("/").status_code == 200

    now = clock.now()
    opened()
    with site.database.write() as db:
        change_rights(db, "ada", role=Role.OPERATOR, actor="admin", now=now)
    assert client.get("/", headers={"Accept": "text/html"}).headers["location"].startswith("/login")
    opened()
    with site.database.write() as db:
        disable_person(db, "ada", actor="admin", now=now)
        enable_person(db, "ada", actor="admin", now=now)
        db.execute(text("update page_session set ended_at = null, ended_because = null"))
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 303
    with site.database.write() as db:
        disable_person(db, "ada", actor="admin", now=now)
    assert sign_in(client, PASSWORD, totp.at(clock.now() + timedelta(seconds=30))) == 401


@SQLITE_FIRST
def test_an_account_is_locked_but_not_for_where_it_signed_in_before_nor_for_others(
    site: Site, clock: ManualClock
) -> None:
    site = strict(site)
    app = create_app(site)
    home = TestClient(app, follow_redirects=False, headers=ORIGIN, client=("10.0.0.1", 1))
    other = TestClient(app, follow_redirects=False, headers=ORIGIN, client=("10.0.0.2", 1))
    totp, _ = enrolled(site, clock, home)
    assert [sign_in(other, "wrong") for _ in range(3)] == [401] * 3
    assert sign_in(other, "wrong") == 429
    clock.move_to(clock.now() + timedelta(seconds=30))
    locked = other.post("/login", data={"person": "ADA", "password": PASSWORD, "code": totp.at(clock.now())})
    assert (locked.status_code, 0 < int(locked.headers["retry-after"]) <= 900) == (429, True)
    assert (
        sign_in(TestClient(create_app(site), headers=ORIGIN, client=("10.0.0.3", 1)), "wrong") == 429
    )  # another process
    assert sign_in(home, PASSWORD, totp.at(clock.now())) == 303
    assert sign_in(other, declared(site, "bob"), who="bob") == 200
    with site.database.write() as db:
        _, key = create_key(db, name="ops", role=Role.ADMIN, actor="admin", now=clock.now())
    assert other.post("/login", data={"key": key}).status_code == 303
    clock.move_to(clock.now() + timedelta(minutes=15))
    assert sign_in(other, "wrong") == 401
    with site.database.read() as db:
        found = ledger_entries(db, ("access.denied",))
    assert ("person:ada", "locked") in {(e["subject"], e["body"]["code"]) for e in found}
    assert len(found) < 6


@SQLITE_FIRST
def test_a_client_that_tries_many_accounts_is_locked_and_keys_that_are_right_pass(site: Site) -> None:
    site = strict(site)
    client = client_of(site)
    with site.database.write() as db:
        _, key = create_key(db, name="ops", role=Role.ADMIN, actor="admin", now=site.clock.now())
    found = [sign_in(client, "wrong", who=f"p{i}") for i in range(16)]
    assert (found[:15], found[15]) == ([401] * 15, 429)
    assert client.post("/login", data={"key": "assay_0_0"}).status_code == 429
    assert client.post("/login", data={"key": key}).status_code == 303
    bad = [client.get("/api/v1/models", headers={"Authorization": f"Bearer assay_x_{i}"}) for i in range(61)]
    assert {a.status_code for a in bad[:60]} == {401}
    assert (bad[60].status_code, bad[60].json()["code"]) == (429, "too_many_failures")
    assert client.get("/api/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize("word", ["aaaaaaaaaaaa", "123456789012", "qwertyuiopas", "person-one-x", "short", "a" * 300])
def test_a_password_that_is_tried_first_is_refused(word: str) -> None:
    with pytest.raises(InvalidError, match="password") as caught:
        read_password(word, 12, "person-one-x")
    assert word not in str(caught.value) or len(word) < 6
