"""What waits for people: who may decide it, who may not and why, and what an approval brings about."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from governance.access.api_keys import create_key
from governance.access.roles import Caller, Role
from monitor.site import Site
from reports.facts.waiting import Inbox, inbox_of
from retrain.runs.stopped import stop_model
from retrain.tables import GateRow, ModelVersion, Run, TriggerDecision
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell

pytestmark = SQLITE_FIRST


def caller(site: Site, name: str, role: Role, owner: str | None, models: list[str] | None = None) -> Caller:
    with site.database.write() as db:
        row, _ = create_key(db, name=name, role=role, owner=owner, models=models, actor="assay", now=site.clock.now())
        return Caller(row.name, role, row.prefix, row.owner, None if models is None else frozenset(models))


def waiting_run(site: Site, db: Session, story: Story, started_by: str | None, **more: Any) -> Run:
    now = site.clock.now()
    made = TriggerDecision(
        model_id=story.model_id, spec_revision=2, window_id=None, cause="manual", fired=True, reason="asked",
        triggers=[], blocked_by=[], at=now,
    )  # fmt: skip
    db.add(made)
    db.flush()
    version = ModelVersion(
        model_id=story.model_id, version="v3", stage="candidate", base_model="b", base_digest="sha256:b",
        adapter="sha256:a", created_at=now,
    )  # fmt: skip
    row = Run(
        model_id=story.model_id, decision_id=made.id, spec_revision=2, state="awaiting_approval", champion_version="v2",
        candidate_version="v3", approvals=[], created_at=now, started_by=started_by, **more,
    )  # fmt: skip
    db.add(row)
    db.flush()
    version.run_id = row.id
    db.add(version)
    for gate in ("no_regression", "fairness", "forgetting", "integrity"):
        db.add(GateRow(run_id=row.id, gate=gate, verdict="pass", reason="fine", evidence={}, at=now))
    return row


@pytest.fixture
def story(site: Site) -> Story:
    with site.database.write() as db:
        return tell(site, db)


def inbox(site: Site, who: Caller) -> Inbox:
    with site.database.read() as db:
        return inbox_of(site, db, who)


def test_a_run_that_waits_says_who_may_decide_it_and_what_an_approval_does(site: Site, story: Story) -> None:
    starter = caller(site, "ada", Role.ADMIN, "ada@example.com")
    approver = caller(site, "bo", Role.APPROVER, "bo@example.com")
    viewer, nobody = caller(site, "ed", Role.VIEWER, "ed@example.com"), caller(site, "key", Role.APPROVER, None)
    other = caller(site, "far", Role.APPROVER, "far@example.com", models=["another"])
    with site.database.write() as db:
        run: UUID = waiting_run(site, db, story, "ada").id
    [one] = inbox(site, approver).items
    assert (one.kind, one.id, one.asked_by, one.needed, one.given) == (
        "run",
        str(run),
        "ada@example.com (key ada)",
        1,
        (),
    )
    approve, reject, attest = one.acts
    assert approve.refused is None
    assert approve.does == "Approve: v3 becomes champion once a validator has attested."
    assert reject.refused is None
    assert attest.refused == "your role is approver; a person with the role validator or admin decides this"
    refused = {who.name: inbox(site, who).items[0].acts[0].refused or "" for who in (starter, viewer, nobody)}
    assert "ada started run" in refused["ada"].replace("ada@example.com (key ada)", "ada")
    assert "your role is viewer; a person with the role approver or admin" in refused["ed"]
    assert "has no declared owner" in refused["key"]
    assert inbox(site, viewer).mine == ()
    assert inbox(site, other) == Inbox()


def test_limits_and_stops_wait_too_and_a_stop_holds_an_approval_back(site: Site, story: Story) -> None:
    stopper = caller(site, "cy", Role.APPROVER, "cy@example.com")
    approver = caller(site, "bo", Role.APPROVER, "bo@example.com")
    asked = {"limit": "max_kwh", "declared": 1.0, "measured": 1.5, "reason": "max_kwh: 1.5 of 1"}
    with site.database.write() as db:
        waiting_run(site, db, story, None, outside=[asked], waits_at="training")
    [one] = inbox(site, approver).items
    assert (one.kind, one.mine, one.missing) == ("limits", True, ("max_kwh: 1.5 of 1",))
    assert one.acts[0].label == "Allow once"
    with site.database.write() as db:
        stop_model(site, db, "support-intents", stopper, "harm was seen")
    limits, stop = inbox(site, approver).items
    assert "lift the stop first" in str(limits.acts[0].refused)
    assert (stop.kind, stop.mine, stop.needed) == ("stop", True, 1)
    assert stop.acts[0].does == "Lift: runs that paused go on at once."
    assert "stopped support-intents and may not lift the stop" in str(inbox(site, stopper).items[1].acts[0].refused)
