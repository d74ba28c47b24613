"""Reasons over HTTP: who sees what, before and after they are known."""

from typing import Any

from fastapi.testclient import TestClient

from api.app import create_app
from governance.access.api_keys import create_key, first_admin
from governance.access.roles import Role
from monitor.reasons.codes import Population, ReasonInputs
from monitor.reasons.record import check_record, reasons_record
from monitor.service import current_spec
from monitor.site import Site
from retrain.reasons.decision import keep_reasons, reason
from tests.databases import SQLITE_FIRST

MODEL = "/api/v1/models/loans"
TEXTS = {"income": "Income is too low", "debt": "Debts are high"}
SPEC: dict[str, Any] = {
    "model": "loans", "task": "classification", "owner": "risk@example.com", "purpose": "decide small loans",
    "columns": {
        "income": {"role": "input", "type": "number"}, "debt": {"role": "input", "type": "number"},
        "age": {"role": "protected", "type": "number"}, "decision": {"role": "prediction", "type": "boolean"},
    },
    "reasons": {"adverse": False, "table": {"version": "1", "texts": TEXTS}},
}  # fmt: skip


def record(site: Site, event_id: str, *, again: bool = False) -> None:
    """Keep reasons as a worker would, with a finding about age."""
    with site.database.read() as db:
        current = current_spec(site, db, "loans")
    assert current.spec.reasons is not None
    given = ReasonInputs(
        decision="false", explained="false", adverse=True, adverse_means="'false'", toward=-1,
        attributions={"income": -1.5, "debt": 0.2, "age": -0.9}, residual=1e-7, tolerance=1e-3,
        population=Population("approved", 90, "sha256:00", {"income": 0.5, "debt": 0.1, "age": 0.3}),
        table=current.spec.reasons.reason_table, protected=("age",),
    )  # fmt: skip
    about = {"event_id": event_id, "spec_revision": current.revision, "answered_by": "v1",
             "explained_with": {"version": "v1", "model_digest": "sha256:01", "identity": "sha256:02"}}  # fmt: skip
    keep_reasons(site, current, event_id, about | reasons_record(given), again=again)


@SQLITE_FIRST
def test_reasons_are_asked_for_kept_and_shown_without_what_is_protected(site: Site) -> None:
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        assert client.put(MODEL, json=SPEC).status_code == 201
        rows = [{"event_id": f"e{i}", "ts": "2026-01-05T00:00:00Z", "version": "v1", "income": 20.0, "debt": 5.0,
                 "age": 70.0, "decision": i > 1} for i in range(4)]  # fmt: skip
        assert client.post(f"{MODEL}/events", json=rows).json()["accepted"] == 4
        assert client.get(f"{MODEL}/events/none/reasons").status_code == 404

        asked = client.get(f"{MODEL}/events/e3/reasons")
        assert (asked.status_code, asked.json()["state"]) == (202, "queued")
        reason(site, "loans", "e3")  # as the worker does; a granted loan asks no model
        granted = client.get(f"{MODEL}/events/e3/reasons")
        assert (granted.status_code, granted.json()["state"]) == (200, "withheld")
        assert "the decision is 'true', which is not adverse" in granted.json()["why"]
        reason(site, "loans", "e0")  # refused, and nobody says which model refused
        assert "names no model file or endpoint" in client.get(f"{MODEL}/events/e0/reasons").json()["why"]

        known = {"event_id": "e0"}
        assert client.get(f"{MODEL}/reasons", params=known).status_code == 200  # the same revision: not computed again
        assert client.get(f"{MODEL}/reasons", params=known | {"again": "true"}).status_code == 202
        record(site, "e0", again=True)  # once its cause is mended
        assert client.get(f"{MODEL}/reasons", params=known).json()["state"] == "issued"
        assert client.get(f"{MODEL}/reasons", params=known | {"again": "true"}).json()["state"] == "issued"

        record(site, "e1")
        told = client.get(f"{MODEL}/reasons", params={"event_id": "e1"}).json()
        assert [code["code"] for code in told["codes"]] == ["income"]
        assert [one["feature"] for one in told["findings"]] == ["age"]
        assert check_record(told["record"]) == []
        with site.database.write() as db:
            _, key = create_key(db, name="team", role=Role.OPERATOR, actor="admin", now=site.clock.now())
        other = {"Authorization": f"Bearer {key}"}
        seen = client.get(f"{MODEL}/events/e1/reasons", headers=other).json()
        assert seen["codes"] == told["codes"]
        assert seen["findings"] == []
        assert set(seen["record"]["inputs"]["attributions"]) == {"income", "debt"}
        assert seen["record"]["left_out"] == {"columns": ["age"], "findings": 1}

        again = SPEC | {"reasons": SPEC["reasons"] | {"table": {"version": "2", "texts": TEXTS | {"debt": "Debt"}}}}
        assert client.put(MODEL, json=again).status_code in (200, 201)
        assert client.get(f"{MODEL}/events/e1/reasons").json()["codes"] == told["codes"]  # issued reasons stay
        assert client.get(f"{MODEL}/events/e3/reasons").status_code == 202  # what was withheld is looked at again
        tables = client.get(f"{MODEL}/reason-tables").json()
        assert [one["version"] for one in tables] == ["2", "1"]
        assert tables[0]["changes"] == ["debt was 'Debts are high', and is 'Debt'"]
        nothing = client.get(f"{MODEL}/attributions").json()
        assert (nothing["declared"], nothing["items"]) == (False, [])

        assert client.put(MODEL, json={k: v for k, v in SPEC.items() if k != "reasons"}).status_code in (200, 201, 409)


@SQLITE_FIRST
def test_the_page_of_a_decision_asks_for_its_reasons_and_shows_them_first(site: Site) -> None:
    page, html = "/models/loans/event", {"Accept": "text/html"}
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"} | html) as client:
        assert client.put(MODEL, json=SPEC).status_code == 201
        row = {"event_id": "e0", "ts": "2026-01-05T00:00:00Z", "version": "v1", "income": 2.0, "debt": 5.0,
               "age": 70.0, "decision": False}  # fmt: skip
        assert client.post(f"{MODEL}/events", json=[row]).json()["accepted"] == 1
        assert "<button>Give reasons</button>" in client.get(page, params={"event_id": "e0"}).text
        asked = client.post(f"{page}/reasons", data={"event_id": "e0"}, headers={"Sec-Fetch-Site": "same-origin"})
        assert "The reasons are being computed." in asked.text
        assert client.post(f"{page}/reasons", data={"event_id": "e9"}).status_code == 404
        record(site, "e0")
        shown = client.get(page, params={"event_id": "e0"}).text
        assert "Give reasons" not in shown
        assert shown.index("Income is too low") < shown.index("What they follow from") < shown.index("table digest")


@SQLITE_FIRST
def test_second_opinions_about_columns_are_refused_before_any_job_is_queued(site: Site) -> None:
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        brought = {"model": "sha256:" + "0" * 64, "features": ["income", "debt"], "outputs": ["false", "true"]}
        assert client.put(MODEL, json=SPEC | {"explain": brought}).status_code == 201
        row = {"event_id": "e0", "ts": "2026-01-05T00:00:00Z", "version": "v1", "income": 2.0, "debt": 5.0,
               "age": 70.0, "decision": False}  # fmt: skip
        assert client.post(f"{MODEL}/events", json=[row]).json()["accepted"] == 1
        answer = client.get(f"{MODEL}/events/e0/explanation", params={"opinions": "lime"})
        assert (answer.status_code, answer.json().get("field")) == (422, "opinions")


@SQLITE_FIRST
def test_a_model_without_declared_reasons_says_what_to_declare(site: Site) -> None:
    plain = {k: v for k, v in SPEC.items() if k != "reasons"}
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        assert client.put(MODEL, json=plain).status_code == 201
        row = {"event_id": "e0", "ts": "2026-01-05T00:00:00Z", "version": "v1", "income": 2.0, "debt": 5.0,
               "age": 70.0, "decision": False}  # fmt: skip
        assert client.post(f"{MODEL}/events", json=[row]).json()["accepted"] == 1
        answer = client.get(f"{MODEL}/events/e0/reasons")
        assert (answer.status_code, answer.json()["field"]) == (422, "reasons")
        assert "say in `reasons` which decisions are adverse" in answer.json()["detail"]
