"""Who sees what of a column: the list for every reader, distributions for those who may read events."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.reports.story import tell
from tests.reports.story_teller import END

pytestmark = SQLITE_FIRST
COLUMN = "/models/support-intents/columns/confidence"


@pytest.fixture
def client(site: Site, clock: ManualClock) -> Iterator[TestClient]:
    clock.move_to(END + timedelta(hours=3))
    key = first_admin(site)
    with site.database.write() as db:
        tell(site, db)
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {key}", "Accept": "text/html"}) as found:
        yield found


def test_a_column_is_searched_for_and_an_unknown_one_is_not_found(client: TestClient) -> None:
    listed = client.get("/models/support-intents/columns?q=conf").text
    assert 'href="/models/support-intents/columns/confidence"' in listed
    assert 'href="/models/support-intents/columns/channel"' not in listed
    assert client.get("/models/support-intents/columns/nowhere").status_code == 404
    assert client.get("/models/support-intents/columns?role=king").status_code == 422


def test_a_distribution_needs_the_right_to_events(client: TestClient, site: Site) -> None:
    """The story's reference is nowhere, so whoever may see the distribution is told that."""
    with site.database.write() as db:
        key = create_key(db, name="ro", role=Role.VIEWER, actor="ana", now=site.clock.now())[1]
    reader = client.get(COLUMN, headers={"Authorization": f"Bearer {key}"})
    assert "your role does not read single events" in reader.text
    assert "your role does not read" not in client.get(COLUMN).text


def test_overview_and_list_say_the_same_and_filter_by_state(client: TestClient) -> None:
    assert "All quiet: no open alert on 1 model" in client.get("/").text
    assert "support-intents" in client.get("/models?status=ok").text
    assert "Nothing matches these filters" in client.get("/models?status=alarm&q=support").text
    marks = client.get("/models").text
    assert (
        'aria-label="The last 14 windows of 500 rows: 12 without an alarm, 2 with an alarm; the newest, until' in marks
    )


def test_the_course_is_of_the_period_the_length_and_the_segment_asked_for(client: TestClient) -> None:
    model = "/models/support-intents"
    assert client.get(f"{model}?since=2026-03-10&until=2026-03-12").text.count('href="/windows/') >= 7
    assert "no window of &#39;1d&#39; has closed; take one of 500 rows" in client.get(f"{model}?length=1d").text
    assert client.get(f"{model}?segment=channel%3Dweb").status_code == 422
    assert client.get(f"{model}?since=someday").status_code == 422
    empty = client.get(f"{model}?since=0001-01-01&until=0001-01-01")
    assert empty.status_code == 200
    assert "No window has closed in this period" in empty.text
