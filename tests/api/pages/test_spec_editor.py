"""The spec editor: errors by line, what a change would do to the past, and nobody's change lost."""

import html
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from monitor import store
from monitor.service import apply_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from tests.databases import SQLITE_FIRST
from tests.reports.story import tell
from tests.reports.story_teller import END, SPEC

pytestmark = SQLITE_FIRST
PATH = "/models/support-intents/spec"


@pytest.fixture
def client(site: Site, clock: ManualClock) -> Iterator[TestClient]:
    clock.move_to(END + timedelta(hours=3))
    key = first_admin(site)
    with site.database.write() as db:
        tell(site, db)
        spec = parse_spec({name: part for name, part in SPEC.items() if name != "retrain"})  # its base model is nowhere
        apply_spec(site, db, spec, "ana", agreed=True)
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/html"}
    with TestClient(create_app(site), headers=headers, follow_redirects=False) as found:
        yield found


def opened(client: TestClient) -> tuple[str, str]:
    """The text of the editor and the digest that it was made from."""
    page = client.get(PATH).text
    text = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.S)
    base = re.search(r'name="base" value="([^"]+)"', page)
    assert text is not None
    assert base is not None
    return html.unescape(text[1]), base[1]


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_an_error_is_told_with_its_line_and_nothing_is_stored(client: TestClient, site: Site) -> None:
    text, base = opened(client)
    assert "null" not in text
    wrong = text.replace("min: 0.85", "min: high")
    line = next(i for i, part in enumerate(wrong.split("\n"), 1) if "min: high" in part)
    answer = client.post(PATH, data={"text": wrong, "base": base})
    assert answer.status_code == 422
    assert f"Line {line} min: high : monitors.kpi[0].min is 'high'" in words(answer.text)
    assert client.post(PATH, data={"text": "model: [", "base": base}).status_code == 422
    renamed = client.post(PATH, data={"text": text.replace("model: support-intents", "model: other"), "base": base})
    assert "a spec keeps the name of its model" in words(renamed.text)
    with site.database.read() as db:
        assert store.model(db, "support-intents").revision == 3


def test_a_change_is_shown_against_the_past_saved_once_and_lost_by_nobody(client: TestClient, site: Site) -> None:
    text, base = opened(client)
    stricter = text.replace("min: 0.85", "min: 0.95")
    checked = words(client.post(f"{PATH}/check", data={"text": stricter, "base": base}).text)
    assert "- - metric: accuracy" not in checked
    assert "+ min: 0.95" in checked
    assert "in force at once, as revision 4" in checked
    assert "Of 34 stored windows" in checked
    assert "min 0.85 min 0.95" in checked
    saved = client.post(PATH, data={"text": stricter, "base": base})
    assert (saved.status_code, saved.headers["location"]) == (303, f"{PATH}?saved=yes")
    late = client.post(PATH, data={"text": text.replace("min: 0.85", "min: 0.9"), "base": base})
    assert late.status_code == 409
    assert "revision 4 is in force now" in words(late.text)
    assert "- min: 0.95" in words(late.text)
    with site.database.read() as db:
        assert store.model(db, "support-intents").revision == 4


def test_who_may_not_change_specs_reads_them_and_is_told_who_may(client: TestClient, site: Site) -> None:
    with site.database.write() as db:
        key = create_key(db, name="ro", role=Role.VIEWER, actor="ana", now=site.clock.now())[1]
    reader = {"Authorization": f"Bearer {key}"}
    shown = client.get(PATH, headers=reader).text
    assert "<textarea" not in shown
    assert "operator or admin may" in words(shown)
    assert client.post(PATH, data={"text": "x", "base": "y"}, headers=reader).status_code == 403


def test_the_route_answers_with_the_same_backtest(client: TestClient) -> None:
    spec = client.get("/api/v1/models/support-intents", headers={"Accept": "application/json"}).json()["spec"]
    spec["monitors"]["kpi"][0]["min"] = 0.95
    answer = client.post("/api/v1/models/support-intents/spec/backtest", json=spec).json()
    assert answer["windows"] == 34
    accuracy = next(one for one in answer["lines"] if one["metric"] == "accuracy")
    assert accuracy["more"] == accuracy["would"] - accuracy["did"] + accuracy["fewer"] > 0
    assert answer["changed"][0]["would"] is True
