"""What the page of an alert, the API and the command say about it: harm, carriers, what else happened, similar ones."""

from datetime import timedelta
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from monitor.notify.tables import Deploy
from monitor.site import Site, open_site
from monitor.tables import Alert, Measurement, Model, SpecRevision, Window
from reports import store
from reports.alerts.story import story
from retrain.tables import Run
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell
from tests.reports.story_teller import STEP

pytestmark = SQLITE_FIRST


@pytest.fixture
def told(site: Site) -> Story:
    with site.database.write() as db:
        return tell(site, db)


def slice_of(db_window: Window, at: Window, value: float, part: str) -> Measurement:
    return Measurement(
        id=uuid4(), model_id=at.model_id, window_id=db_window.id, monitor="kpi", metric="accuracy", column="",
        segment=f"channel={part}", value=value, reason=None, low=value - 0.05, high=value + 0.05, unit="share", n=120,
        n_reference=None, details={"by": "channel", "part": part, "higher_is_better": True}, from_ts=db_window.from_ts,
        to_ts=db_window.to_ts, computed_at=db_window.closed_at,
    )  # fmt: skip


def alert_about(site: Site, told: Story) -> tuple[Alert, Window, Window]:
    """The drift alert, its window, and the last one before it."""
    with site.database.read() as db:
        alert = db.get_one(Alert, told.alert_id)
        window = db.get_one(Window, alert.first_window_id)
        query = select(Window).where(Window.to_ts <= window.from_ts).order_by(Window.to_ts.desc()).limit(1)
        return alert, window, db.scalars(query).one()


def test_an_alert_says_what_it_cost_for_whom_what_happened_and_what_now(site: Site, told: Story) -> None:
    _, window, before = alert_about(site, told)
    with site.database.write() as db:
        for part, now in (("phone", 0.55), ("web", 0.9)):
            db.add_all([slice_of(before, before, 0.91, part), slice_of(window, window, now, part)])
        at = window.from_ts - timedelta(hours=2)
        db.add(Deploy(model_id=told.model_id, version="v1.1", at=at, note=None, created_at=at, created_by="pipeline"))
    with site.database.read() as db:
        found = story(site, db, db.get_one(Alert, told.alert_id), None)
    accuracy = next(k for k in found.harm.kpis if k.metric == "accuracy")
    assert found.harm.hurt == "yes"
    assert accuracy.before is not None
    assert accuracy.during is not None
    assert accuracy.before.window_id == before.id
    assert (accuracy.size, accuracy.worse) == ("large", True)
    assert "before 0.8" in found.harm.sentence
    assert "points, large" in found.harm.sentence
    [carrier] = found.carriers.carriers
    assert (carrier.column, carrier.value, carrier.size) == ("channel", "phone", "large")
    assert "Version v1 answered all of its rows" in found.carriers.sentence
    kinds = {h.kind: h for h in found.around}
    assert kinds["deploy"].when == "14 h before"  # the alert was opened when its window had ended
    assert {"deploy", "alert"} <= set(kinds)
    assert found.headline.startswith("Resolved: ")


def test_similar_alerts_come_with_what_was_done_and_only_those_of_the_scope(site: Site, told: Story) -> None:
    with site.database.write() as db:
        old = db.get_one(Alert, told.alert_id)
        old.note = "the new intents were wanted"
        run = db.get_one(Run, told.run_id)
        run.created_at = old.opened_at + timedelta(hours=1)
        new = Alert(
            model_id=old.model_id, incident_id=old.incident_id, severity="warning", monitor=old.monitor,
            metric=old.metric, column=old.column, value=0.001, limit=0.01, sentence=old.sentence,
            first_window_id=old.first_window_id, last_window_id=old.last_window_id, opened_at=old.opened_at + 20 * STEP,
        )  # fmt: skip
        db.add(new)
        db.flush()
        [before] = story(site, db, new, None).similar
        assert (before.id, before.reason, before.same_model) == (old.id, "the new intents were wanted", True)
        assert [r.id for r in before.runs] == [run.id]
        assert "a retrain was started" in before.done
        assert "the new intents were wanted" in before.done
        elsewhere = Model(name="other", revision=1, created_at=old.opened_at)
        db.add(elsewhere)
        db.flush()
        new.model_id = elsewhere.id
        db.flush()
        [alike] = story(site, db, new, None).similar
        assert (alike.id, alike.same_model) == (old.id, False)
        hidden = story(site, db, new, [elsewhere.id])
        assert hidden.similar == ()
        assert not [h for h in hidden.around if h.model == "support-intents"]


def test_the_api_and_the_page_say_the_same_also_where_something_is_missing(site: Site, told: Story) -> None:
    client = TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"})
    path = f"/alerts/{told.alert_id}"
    body = client.get(f"/api/v1{path}").json()
    page = client.get(path).text
    for said in (body["headline"], body["harm"]["sentence"], body["next"][0]["words"]):
        assert said.replace("'", "&#39;") in page
    with site.database.write() as db:
        alert = db.get_one(Alert, told.alert_id)
        alert.note = '<img src=x onerror="alert(1)"> #read("x")'
        alert.withdrawn_at = alert.opened_at
        one = alert.episodes[0] if alert.episodes else {
            "scale": "500 rows", "first_window": str(alert.first_window_id), "last_window": str(alert.last_window_id),
            "from_ts": alert.opened_at.isoformat(), "to_ts": alert.opened_at.isoformat(), "windows": 1, "ended": None,
            "told_at": alert.opened_at.isoformat(), "sentence": alert.sentence, "headlines": [],
        }  # fmt: skip
        alert.episodes = [one] * 10_000
        for row in db.scalars(select(Measurement).where(Measurement.monitor == "kpi")):
            row.value, row.reason, row.low, row.high = None, "no outcomes", None, None
        for spec in db.scalars(select(SpecRevision)):
            spec.document = {"model": "support-intents", "from": "a later release"}
    site.close()
    site = open_site(site.settings, site.clock)
    client = TestClient(create_app(site), headers=dict(client.headers))
    shown = client.get(path)
    assert shown.status_code == 200
    assert len(shown.text) < 300_000
    assert "<img src=x" not in shown.text
    assert "The spec of this model cannot be read" in shown.text
    assert "The newest 50 of 10,000 episodes" in shown.text
    assert "Not known yet whether it hurt" in shown.text
    assert client.get(f"/api/v1{path}").json()["harm"]["hurt"] == "unknown"
    with site.database.write() as db:
        _, key = create_key(db, name="viewer", role=Role.VIEWER, actor="tester", now=site.clock.now())
    seen = client.get(path, headers={"Authorization": f"Bearer {key}"}).text
    assert "alert.write" in seen or "resolved" in seen
    assert '<form class="action"' not in seen


def test_the_entries_of_an_alert_are_found_near_their_time_however_long_the_log_is(site: Site, told: Story) -> None:
    with site.database.write() as db:
        alert = db.get_one(Alert, told.alert_id)
        cited = store.alert_entries(db, "model:support-intents", alert)
        for kind, index in cited.items():
            found = store.entry(db, index)
            assert found is not None
            assert (found.kind, found.body["alert"]) == (kind, str(alert.id))
        assert set(cited) == {"alert.opened", "alert.acknowledged", "alert.resolved"}
        assert store.alert_entries(db, "model:other", alert) == {}
