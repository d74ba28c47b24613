"""From events to the causes of a fairness alert: found by a job, stored, bound, shown, and asked for a period."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from api.http.auth import COOKIE
from api.processes.worker import drain
from governance import erasure
from governance.access.api_keys import create_key
from governance.access.roles import Caller, Role
from governance.access.sessions import open_session
from governance.binding.check import check_rows
from monitor import service, store
from monitor.causes.alert import find_causes
from monitor.causes.ask import groups_of_rows, rule_of
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import Alert
from monitor.windows.evaluate import evaluate
from retrain.store import flips
from retrain.tables import FairnessFlip
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, rows, spec

RULE = {"metric": "demographic_parity_difference", "by": ["age_band"], "max": 0.1, "given": ["region"]}


def turned(count: int, *, start: int, apart: bool) -> pl.DataFrame:
    """In each region the young are selected more often; they live where few are selected, once they are apart."""
    random = np.random.default_rng(start)
    young = random.random(count) < 0.5
    north = random.random(count) < np.where(young, 0.15, 0.85) if apart else random.random(count) < 0.5
    selected = random.random(count) < np.where(north, 0.75, 0.15) + 0.1 * young
    return rows(count, start=start).with_columns(
        age_band=pl.Series(np.where(young, "18-29", "30+")), region=pl.Series(np.where(north, "north", "south")),
        decision=pl.Series(np.where(selected, "yes", "no")),
    )  # fmt: skip


def declared(site: Site) -> None:
    with site.database.write() as db:
        monitors = document()["monitors"] | {"kpi": [], "fairness": [RULE], "windows": {"rows": 1000}}
        service.apply_spec(site, db, spec(monitors=monitors, baseline={"rows": "first 4000"}), "tester")


def send(site: Site, frame: pl.DataFrame) -> None:
    receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    evaluate(site, "loans")


def signed_in(site: Site, role: Role) -> TestClient:
    with site.database.write() as db:
        row, _ = create_key(db, name=f"page {role}", role=role, actor="tester", now=site.clock.now())
        caller = Caller(row.name, role, row.prefix)
        value = open_session(db, caller, site.keys.session, site.clock.now(), timedelta(hours=1), "key")
    return TestClient(create_app(site), cookies={COOKIE: value})


@SQLITE_FIRST
def test_a_fairness_alert_says_where_the_difference_comes_from_and_that_it_turns(site: Site) -> None:
    declared(site)
    send(site, turned(4000, start=0, apart=False))
    send(site, turned(1000, start=4000, apart=True))
    drain(site)
    with site.database.read() as db:
        alert = db.scalars(select(Alert).where(Alert.monitor == "fairness")).one()
        (found,) = store.fairness_causes(db, alert.id)
        assert check_rows(db).ok
    causes = found.document["causes"]
    assert causes["groups"] == ["18-29", "30+"]
    assert found.document["value"] == causes["disparity"]["value"]
    assert causes["declared"]["turn"] == "reversed"
    assert any(s.startswith("Simpson's reversal") for s in found.document["sentences"])
    total = sum(part["value"] for part in causes["together"]["parts"]) + causes["together"]["unexplained"]["value"]
    assert abs(total - causes["disparity"]["value"]) < 1e-12
    find_causes(site, alert.id)  # again, as after a worker was killed
    with site.database.read() as db:
        assert len(store.fairness_causes(db, alert.id)) == 1
    client = signed_in(site, Role.COMPLIANCE)
    shown = client.get(f"/alerts/{alert.id}").text
    assert "Simpson&#39;s reversal" in shown
    assert "with region held fixed" in shown.lower()
    period = client.get("/models/loans/fairness?from=2026-01-01&to=2026-02-01").text
    assert "Simpson&#39;s reversal" in period
    (answer,) = client.get(f"/api/v1/alerts/{alert.id}/causes").json()["items"]
    assert answer["causes"] == causes
    viewer = signed_in(site, Role.VIEWER).get(f"/api/v1/alerts/{alert.id}/causes").json()["items"][0]
    assert "south" not in str(viewer)
    assert viewer["causes"]["declared"]["adjusted"] == causes["declared"]["adjusted"]


@pytest.mark.slow
@SQLITE_FIRST
def test_an_erased_person_s_values_leave_the_causes_which_are_found_again(site: Site) -> None:
    declared(site)
    send(site, turned(4000, start=0, apart=False))
    hers = pl.col("customer") == "c5"
    send(site, turned(1000, start=4000, apart=True).with_columns(
        region=pl.when(hers).then(pl.lit("Annstown")).otherwise("region")))  # fmt: skip
    drain(site)
    with site.database.write() as db:
        alert = db.scalars(select(Alert).where(Alert.monitor == "fairness")).one()
        (found,) = store.fairness_causes(db, alert.id)
        assert "Annstown" in str(found.document)
        test = {"test": "terms", "n": 2, "changed": 2, "examples": [{"event_id": f"e{4000 + i}"} for i in (5, 6)]}
        db.add(FairnessFlip(
            model_id=found.model_id, version="v1", document={"tests": [test]}, at=site.clock.now(),
        ))  # fmt: skip
    gone = site.events.events("loans").filter(pl.col("event_id") == "e4005")["customer"][0]
    with site.database.write() as db:
        erasure.request(db, subject=gone, models=[], actor="dpo", now=site.clock.now())
    drain(site)
    with site.database.read() as db:
        (again,) = store.fairness_causes(db, alert.id)
        assert again.id != found.id
        assert "Annstown" not in str(again.document)
        (flip,) = flips(db, again.model_id)
        assert [e["event_id"] for e in flip.document["tests"][0]["examples"]] == ["e4006"]
        assert check_rows(db).ok


def test_groups_are_those_of_the_metric_bands_and_intersections_too() -> None:
    columns = document()["columns"] | {"age": {"role": "protected", "type": "number", "edges": [30, 60]}}
    read = spec(columns=columns, monitors=document()["monitors"] | {"fairness": [
        {"metric": "demographic_parity_difference", "by": ["age_band", "age"], "depth": 2, "compare": "overall"},
    ]})  # fmt: skip
    frame = pl.DataFrame({"age": [29.0, None, 60.0], "age_band": ["a", "b", None]})
    assert groups_of_rows(read, frame, ("age",)).to_list() == ["under 30", "(missing)", "60 and over"]
    crossed = groups_of_rows(read, frame, ("age_band", "age"))
    assert crossed.to_list()[0] == "age_band=a & age=under 30"
    rule = rule_of(read, "demographic_parity_difference_to_overall", "age_band & age")
    assert (rule.by, rule.depth, rule.compare) == (("age_band", "age"), 2, "overall")
    assert rule_of(read, "equalized_odds_difference", "age").by == ("age",)


@SQLITE_FIRST
def test_any_period_is_asked_for_its_causes_and_a_wrong_question_is_told(site: Site) -> None:
    declared(site)
    send(site, turned(300, start=0, apart=True))
    client = signed_in(site, Role.COMPLIANCE)

    def ask(**query: str) -> dict[str, object]:
        asked = {"metric": "demographic_parity_difference", "by": "age_band"} | query
        found: dict[str, object] = client.get("/api/v1/models/loans/fairness/causes", params=asked).json()
        return found

    whole = ask()
    assert (whole["rows"], whole["given"]) == (300, ["region"])
    assert whole["sentences"]
    part = ask(to="2026-01-01T01:00:00Z", given="amount")
    assert (part["rows"], part["given"]) == (60, ["amount"])
    assert ask(to="2025-01-01T00:00:00Z")["causes"] is None
    assert "fewer than two groups" in str(ask(to="2025-01-01T00:00:00Z")["reason"])
    assert ask(metric="equalized_odds_difference")["causes"] is None  # no outcome has arrived
    assert "no column with role protected" in str(ask(by="region")["detail"])
    assert "given names 'decision'" in str(ask(given="decision")["detail"])
    assert "is not known" in str(ask(metric="fair"))
