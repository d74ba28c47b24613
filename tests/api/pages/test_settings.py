"""The page of settings: what is in force here, and no secret of it."""

from pathlib import Path

from fastapi.testclient import TestClient

from api.app import create_app
from api.pages.settings.environment import HIDDEN, in_force
from core import settings
from core.clock import ManualClock
from core.settings import variables
from governance.access.api_keys import create_key
from governance.access.roles import Role
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.reports.story import tell

pytestmark = SQLITE_FIRST


def test_every_setting_is_shown_and_no_secret(site: Site, tmp_path: Path) -> None:
    loaded = settings.load(
        {
            "ASSAY_CHANNELS__OPS": "slack://a-secret/in/it", "ASSAY_ROUTES__OPS__SEVERITY": "critical",
            "ASSAY_LAKE__URI": "s3://name:a-secret@bucket/lake?key=a-secret", "ASSAY_SERVER__PORT": "9000",
            "ASSAY_HEARTBEAT__URL": "https://a-secret.example.com", "ASSAY_DB__URL": "postgresql://a:a-secret@db/assay",
            "ASSAY_OIDC__ISSUER": "https://id.example.com", "ASSAY_OIDC__CLIENT_SECRET": "a-secret",
            "ASSAY_OIDC__CLIENT_ID": "assay", "ASSAY_OIDC__BASE_URL": "https://assay.example.com",
        },
        home=tmp_path,
    )  # fmt: skip
    found = {one.variable: one for one in in_force(loaded)}
    assert "a-secret" not in str(found)
    for name in ("ASSAY_CHANNELS__OPS", "ASSAY_HEARTBEAT__URL", "ASSAY_DB__URL", "ASSAY_OIDC__CLIENT_SECRET"):
        assert (found[name].value, found[name].given) == (HIDDEN, True)
    assert found["ASSAY_LAKE__URI"].value == "s3://bucket/lake"
    assert (found["ASSAY_SERVER__PORT"].value, found["ASSAY_SERVER__PORT"].given) == ("9000", True)
    assert found["ASSAY_ROUTES__OPS__SEVERITY"].value == "critical"
    assert found["ASSAY_CLIENT__KEY"].value == "not set"
    assert not found["ASSAY_REPORTS__PAPER"].given
    plain = {one.variable for one in in_force(settings.load({}, home=tmp_path))}
    named = {name.partition("__NAME")[0] for name, _ in variables()}
    assert {name.partition("__NAME")[0] for name in plain} == named


def test_the_page_shows_each_reader_what_that_reader_may_see(site: Site, clock: ManualClock) -> None:
    with site.database.write() as db:
        tell(site, db)
        keys = {}
        for role, models in (
            (Role.ADMIN, None),
            (Role.VIEWER, None),
            (Role.COMPLIANCE, ["support-intents"]),
            (Role.OPERATOR, ["x"]),
        ):
            _, keys[role] = create_key(db, name=role.value, role=role, actor="assay", now=clock.now(), models=models)
    client = TestClient(create_app(site))

    def shown(role: Role, path: str = "/settings") -> str:
        answer = client.get(path, headers={"Authorization": f"Bearer {keys[role]}", "Accept": "text/html"})
        assert answer.status_code == 200
        return answer.text

    assert site.keys.vkey.replace("+", "&#43;") in shown(Role.VIEWER) or site.keys.vkey in shown(Role.VIEWER)
    assert "ASSAY_SERVER__PORT" in shown(Role.ADMIN)
    assert 'href="/people"' in shown(Role.ADMIN)
    for role in (Role.VIEWER, Role.COMPLIANCE, Role.OPERATOR):
        assert "ASSAY_SERVER__PORT" not in shown(role)
        assert 'href="/people"' not in shown(role)
    assert "support-intents" in shown(Role.COMPLIANCE, "/settings/policies")
    assert "age_band" in shown(Role.ADMIN, "/settings/policies?model=SUPPORT")
    assert "support-intents" not in shown(Role.OPERATOR, "/settings/policies")
    assert "Nothing matches" in shown(Role.ADMIN, "/settings/policies?model=nobody")
