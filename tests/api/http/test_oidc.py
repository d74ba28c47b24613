"""OpenID Connect: people come back from a real provider's process; tokens that are not right are refused one by one."""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from sqlalchemy import text

from api.app import create_app
from core.clock import ManualClock, SystemClock
from core.settings_access import OidcSettings
from governance.access.api_keys import create_key
from governance.access.people import create_person, declare_address, disable_person
from governance.access.roles import Role
from governance.ledger.read import ledger_entries
from monitor.site import Site
from tests.beside import free_port
from tests.databases import SQLITE_FIRST

BROWSER = {"Accept": "text/html", "Origin": "http://testserver"}
BASE = "http://testserver"


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    """The address of a provider of its own process, with three people."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                if httpx2.get(f"{url}/.well-known/openid-configuration").status_code == 200:
                    break
            except httpx2.TransportError:
                time.sleep(0.1)
        for sub, claims in {
            "s-ada": {"preferred_username": "Ada", "name": "Ada L", "groups": ["ml", "credit"]},
            "s-bob": {"preferred_username": "bob", "email": "bob@example.com", "email_verified": True, "groups": []},
            "s-eve": {"preferred_username": "eve", "email": "bob@example.com", "email_verified": False, "groups": []},
        }.items():
            httpx2.put(f"{url}/users/{sub}", json=claims).raise_for_status()
        yield url
    finally:
        process.kill()
        process.wait()


def served(site: Site, issuer: str, **more: Any) -> Site:
    oidc = OidcSettings.model_validate(
        {"issuer": issuer, "client_id": "assay", "client_secret": "s", "base_url": BASE, "audience": "assay"} | more
    )
    return replace(site, settings=site.settings.model_copy(update={"oidc": oidc}))


GROUPS = {"roles": "ml=operator, audit=compliance", "models": "credit=loans|cards"}


def browser(site: Site) -> TestClient:
    return TestClient(create_app(site), follow_redirects=False, headers=BROWSER)


def at_the_provider(client: TestClient, sub: str, target: str = "/people") -> str:
    """Go to the provider and sign in there; the way back, as a path of this service."""
    to = client.get("/login/provider", params={"next": target})
    assert to.status_code == 303, to.text
    back = httpx2.post(to.headers["location"], data={"sub": sub})
    assert back.status_code == 302, back.text
    assert str(back.headers["location"]).startswith(f"{BASE}/login/return?")
    return str(back.headers["location"]).removeprefix(BASE)


def groups_of(mock: str, sub: str, *groups: str) -> None:
    claims = {"preferred_username": "Ada", "name": "Ada L", "groups": list(groups)}
    httpx2.put(f"{mock}/users/{sub}", json=claims).raise_for_status()


@SQLITE_FIRST
def test_a_person_comes_back_from_the_provider_with_the_rights_of_the_groups(
    site: Site, clock: ManualClock, mock: str
) -> None:
    clock.move_to(SystemClock().now())
    groups_of(mock, "s-ada", "ml", "credit")
    site = served(site, mock, **GROUPS)
    client = browser(site)
    assert "Sign in through your organisation" in client.get("/login").text
    back = at_the_provider(client, "s-ada")
    assert browser(site).get(back).status_code == 401  # another browser did not begin here
    assert client.get(back.replace("state=", "state=x")).status_code == 401
    done = client.get(back)
    assert (done.status_code, 'content="0;url=/people"' in done.text) == (200, True)
    cookie = next(c for c in done.headers.get_list("set-cookie") if c.startswith("assay_session="))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "ada, operator" in client.get("/").text
    again = client.get(back)  # the code was used, and the browser's way is over
    assert again.status_code == 401
    groups_of(mock, "s-ada", "audit")
    other = browser(site)
    assert other.get(at_the_provider(other, "s-ada")).status_code == 200
    assert "ada, compliance" in other.get("/").text
    assert client.get("/").status_code == 303  # the role changed: the session of before is over
    remapped = browser(served(site, mock, roles="audit=viewer"))
    remapped.cookies.update(other.cookies)
    assert remapped.get("/").status_code == 303  # the mapping changed: those of before are over
    groups_of(mock, "s-ada", "nobody")
    third = browser(site)
    assert third.get(at_the_provider(third, "s-ada")).status_code == 403
    assert other.get("/").status_code == 303
    with site.database.read() as db:
        created, changed = (ledger_entries(db, (kind,)) for kind in ("person.created", "person.rights"))
        assert [(e["subject"], e["body"]) for e in created] == [
            ("person:ada", {"role": "operator", "models": ["cards", "loans"]})
        ]
        assert [e["body"]["role"] for e in changed] == ["compliance", "viewer"]
        assert {e["body"]["way"] for e in ledger_entries(db, ("session.opened",))} == {"provider"}


@SQLITE_FIRST
def test_a_declared_person_is_found_by_an_address_that_the_provider_has_checked(
    site: Site, clock: ManualClock, mock: str
) -> None:
    clock.move_to(SystemClock().now())
    site = served(site, mock)
    with site.database.write() as db:
        create_person(db, who="bob", role=Role.VIEWER, models=None, actor="admin", now=clock.now())
        db.execute(text("update person set email = 'bob@example.com'"))  # links nobody: the ledger does not say so
    client = browser(site)
    assert client.get(at_the_provider(client, "s-bob")).status_code == 403
    with site.database.write() as db:
        declare_address(db, "bob", "Bob@example.com", key=site.keys.session, actor="admin", now=clock.now())
    for sub, status in (("s-eve", 403), ("s-ada", 403), ("s-bob", 200), ("s-bob", 200)):
        client = browser(site)
        assert client.get(at_the_provider(client, sub)).status_code == status, sub
    assert "bob, viewer" in client.get("/").text
    assert client.post("/logout").status_code == 303
    assert client.get("/").status_code == 303
    with site.database.write() as db:
        disable_person(db, "bob", actor="admin", now=clock.now())
    assert client.get(at_the_provider(client, "s-bob")).status_code == 403


@SQLITE_FIRST
def test_a_human_whom_a_key_names_already_does_not_become_two_people(site: Site, clock: ManualClock, mock: str) -> None:
    clock.move_to(SystemClock().now())
    groups_of(mock, "s-ada", "ml")
    site = served(site, mock, **GROUPS)
    with site.database.write() as db:
        create_key(db, name="cli", role=Role.OPERATOR, owner="Ada L", actor="admin", now=clock.now())
    client = browser(site)
    refused = client.get(at_the_provider(client, "s-ada"))
    assert (refused.status_code, "declared already" in refused.text) == (403, True)


@SQLITE_FIRST
def test_a_provider_that_is_down_leaves_a_clear_page_and_the_other_ways_in(site: Site) -> None:
    site = served(site, f"http://127.0.0.1:{free_port()}")
    client = browser(site)
    down = client.get("/login/provider")
    assert (down.status_code, "does not answer" in down.text, 'name="key"' in down.text) == (503, True, True)
    with site.database.write() as db:
        _, key = create_key(db, name="ops", role=Role.ADMIN, actor="admin", now=site.clock.now())
    token = client.get("/api/v1/models", headers={"Authorization": "Bearer " + signed(RSA, "one")})
    assert (token.status_code, token.json()["code"]) == (503, "provider_down")
    assert client.post("/login", data={"key": key}).status_code == 303
    assert client.get("/").status_code == 200
    assert (
        browser(served(site, "http://127.0.0.1:1")).get("/login", params={"next": "//evil.example"}).status_code == 200
    )


RSA, SECOND, EC = RSAKey.generate_key(2048), RSAKey.generate_key(2048), ECKey.generate_key("P-256")
STRANGER = RSAKey.generate_key(2048)
NOW = 1_767_571_200  # the clock of the tests


class Issuer:
    """A provider that publishes keys, and nothing else."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [RSA.as_dict(private=False) | {"kid": "one"}]
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += self.path == "/keys"
                found: dict[str, Any] = {"keys": issuer.keys}
                if self.path.startswith("/.well-known"):
                    found = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
                body = json.dumps(found).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


def claims_of(url: str = "", **changes: Any) -> dict[str, Any]:
    claims = {"iss": url, "sub": "s-1", "aud": "assay", "exp": NOW + 300, "iat": NOW, "groups": ["ml"]} | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(key: Any, kid: str | None, alg: str = "RS256", url: str = "", **changes: Any) -> str:
    header = {"alg": alg} | ({} if kid is None else {"kid": kid})
    return jwt.encode(header, claims_of(url, **changes), key, algorithms=[alg])


def raw(header: dict[str, Any], claims: dict[str, Any], mac: bytes | None) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    body = b".".join(parts)
    tag = b"" if mac is None else base64.urlsafe_b64encode(hmac.new(mac, body, hashlib.sha256).digest()).rstrip(b"=")
    return b".".join((body, tag)).decode()


PEM = RSA.as_pem(private=False)
BAD: dict[str, Callable[[str], str]] = {
    "alg none": lambda u: raw({"alg": "none", "kid": "one"}, claims_of(u), None),
    "alg None": lambda u: raw({"alg": "NoNe", "kid": "one"}, claims_of(u), None),
    "no alg": lambda u: raw({"kid": "one"}, claims_of(u), None),
    "the public key as a shared secret": lambda u: raw({"alg": "HS256", "kid": "one"}, claims_of(u), PEM),
    "a shared secret of its own": lambda u: signed(OctKey.import_key("x" * 32), "one", "HS256", u),
    "another key": lambda u: signed(STRANGER, "one", url=u),
    "a key that it brings itself": lambda u: jwt.encode(
        {"alg": "RS256", "jwk": STRANGER.as_dict(private=False)}, claims_of(u), STRANGER
    ),
    "a kid that is a path": lambda u: signed(STRANGER, "../../dev/null", url=u),
    "an algorithm that is not listed": lambda u: signed(RSA, "one", "PS256", u),
    "an algorithm of another kind of key": lambda u: signed(EC, "one", "ES256", u),
    "expired": lambda u: signed(RSA, "one", url=u, exp=NOW - 31),
    "without an end": lambda u: signed(RSA, "one", url=u, exp=None),
    "an end that is no number": lambda u: signed(RSA, "one", url=u, exp="tomorrow"),
    "an end beyond numbers": lambda u: raw({"alg": "RS256", "kid": "one"}, claims_of(u, exp=float("inf")), b"x"),
    "not valid yet": lambda u: signed(RSA, "one", url=u, nbf=NOW + 60),
    "issued in future": lambda u: signed(RSA, "one", url=u, iat=NOW + 3600),
    "another audience": lambda u: signed(RSA, "one", url=u, aud="other"),
    "no audience": lambda u: signed(RSA, "one", url=u, aud=None),
    "part of the audience": lambda u: signed(RSA, "one", url=u, aud="assay2"),
    "another issuer": lambda u: signed(RSA, "one", url="https://evil.example"),
    "a longer issuer": lambda u: signed(RSA, "one", url=u + "/"),
    "nobody": lambda u: signed(RSA, "one", url=u, sub=None),
    "a sub that is a number": lambda u: raw({"alg": "RS256"}, claims_of(u, sub=1), b"x"),
    "a changed claim": lambda u: _swapped(signed(RSA, "one", url=u), claims_of(u, groups=["admins"])),
    "no signature": lambda u: signed(RSA, "one", url=u).rpartition(".")[0] + ".",
    "two parts": lambda u: signed(RSA, "one", url=u).rpartition(".")[0],
    "five parts": lambda u: "a.b.c.d.e",
    "no JSON": lambda u: "!!!.###.$$$",
    "crit": lambda u: raw({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, claims_of(u), b"x"),
    "very long": lambda u: "a" * 20_000 + ".b.c",
}


def _swapped(token: str, claims: dict[str, Any]) -> str:
    head, _, tag = token.split(".")
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()}.{tag}"


@SQLITE_FIRST
def test_a_token_that_is_not_right_is_refused_and_one_that_is_opens(site: Site, issuer: Issuer) -> None:
    site = served(site, issuer.url, roles="ml=operator, admins=admin")
    client = TestClient(create_app(site))

    def status(token: str, path: str = "/api/v1/models") -> int:
        return client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code

    assert {name: status(make(issuer.url)) for name, make in BAD.items()} == dict.fromkeys(BAD, 401)
    good = signed(RSA, "one", url=issuer.url)
    assert (status(good), status(good, "/api/v1/keys")) == (200, 403)
    assert status(signed(RSA, "one", url=issuer.url, aud=["other", "assay"], exp=NOW - 29)) == 200
    assert status(signed(RSA, None, url=issuer.url)) == 200
    assert status(signed(RSA, "one", url=issuer.url, sub="s-2", groups=["none"])) == 403
    assert status(signed(RSA, "one", url=issuer.url, groups=["admins"]), "/api/v1/keys") == 200
    assert status(signed(RSA, "one", url=issuer.url, groups=None)) == 403  # and the person keeps the rights
    assert client.get("/api/v1/models", headers={"Authorization": "Bearer x.y.z"}).json()["code"] == "unauthenticated"
    with site.database.write() as db:
        assert len(ledger_entries(db, ("access.denied",))) < 6
        db.execute(text("update person set role = 'admin' where role <> 'admin'"))
        db.execute(text("update person set models = '[]'"))
    client = TestClient(create_app(site))
    assert status(signed(RSA, "one", url=issuer.url, groups=["admins"])) == 403  # changed in the database


@SQLITE_FIRST
def test_keys_of_the_provider_turn_and_are_not_asked_for_at_every_request(site: Site, issuer: Issuer) -> None:
    site = served(site, issuer.url, roles="ml=operator")
    app = create_app(site)
    client = TestClient(app)

    def status(token: str) -> int:
        return client.get("/api/v1/models", headers={"Authorization": f"Bearer {token}"}).status_code

    for number in range(5):
        assert status(signed(RSA, "one", url=issuer.url, jti=str(number))) == 200
    assert issuer.asked == 1
    issuer.keys = [SECOND.as_dict(private=False) | {"kid": "two", "use": "sig", "alg": "RS256"}]
    for number in range(3):  # unknown keys do not make us ask again and again
        assert status(signed(STRANGER, f"x{number}", url=issuer.url)) == 401
    assert issuer.asked == 1
    app.state.provider._tried_at -= 11  # ten seconds later
    assert status(signed(SECOND, "two", url=issuer.url)) == 200
    assert (issuer.asked, status(signed(RSA, "one", url=issuer.url))) == (2, 401)
    issuer.keys = [SECOND.as_dict(private=False) | {"kid": "two", "use": "enc"}]
    app.state.provider._tried_at -= 600
    app.state.provider._read_at -= 600
    assert status(signed(SECOND, "two", url=issuer.url, jti="later")) == 401  # a key for something else


WRONG_SETTINGS: list[dict[str, Any]] = [
    {"issuer": "http://example.com"}, {"client_id": ""}, {"scopes": "profile"}, {"algorithms": "none"},
    {"algorithms": "HS256"}, {"roles": "ml"}, {"leeway_s": 4000},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_SETTINGS)
def test_settings_that_would_open_a_hole_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        OidcSettings.model_validate({"issuer": "https://example.com", "client_id": "assay"} | wrong)


@SQLITE_FIRST
def test_a_group_that_gives_no_role_there_is_stops_the_start(site: Site) -> None:
    with pytest.raises(Exception, match=r"setting oidc\.roles: group 'ml' gives 'boss', which is no role"):
        create_app(served(site, "https://example.com", roles="ml=boss"))
    with pytest.raises(Exception, match="no name of a model"):
        create_app(served(site, "https://example.com", roles="ml=viewer", models="ml=Loans!"))
