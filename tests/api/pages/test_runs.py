"""Pages about runs, versions and datasets: what they say, who may do what, and what bad records do to them."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from governance.access.api_keys import create_key
from governance.access.roles import Role
from monitor.site import Site
from monitor.tables import Dataset, SpecRevision
from retrain.tables import GateRow, ModelVersion, Run
from tests.databases import SQLITE_FIRST
from tests.reports.facts.test_waiting import waiting_run
from tests.reports.story import Story, tell

pytestmark = SQLITE_FIRST
OpenAs = Callable[..., TestClient]
HTML = {"Accept": "text/html"}
MODEL = "/models/support-intents"
HOSTILE = "<script>alert(1)</script> =cmd|' /C calc'!A0 \u05e9\u05dc\u05d5\u05dd \u4f60\u597d"


@pytest.fixture
def story(site: Site) -> Story:
    with site.database.write() as db:
        return tell(site, db)


@pytest.fixture
def open_as(site: Site, story: Story) -> OpenAs:
    app = create_app(site)

    def client(role: Role, models: list[str] | None = None) -> TestClient:
        with site.database.write() as db:
            name = f"{role.value}-{len(models or ())}"
            _, key = create_key(
                db, name=name, role=role, owner=f"{name}@example.com", models=models, actor="assay",
                now=site.clock.now(),
            )  # fmt: skip
        return TestClient(app, headers={"Authorization": f"Bearer {key}", **HTML}, follow_redirects=False)

    return client


def read(client: TestClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.text[:400])
    return answer.text


def test_the_page_of_a_promoted_run_tells_its_way_and_what_it_trained_otherwise(story: Story, open_as: OpenAs) -> None:
    viewer = open_as(Role.VIEWER)
    shown = read(viewer, f"/runs/{story.run_id}")
    assert (
        "started by the policy: drift: an alarm in the last window. v2 was promoted to champion on 2026-03-12" in shown
    )
    for words in (
        "From the trigger on",
        "Gates judged",
        "Promoted",
        "reviewed the gates",
        "What is different from the champion",
    ):
        assert words in shown, words
    assert 'data-spec="course-spec"' in shown
    assert "+0.118 to +0.188" in shown
    assert "those of the gates above count rows of one person as fewer rows" in shown
    assert "Memory over the steps was not recorded" in shown
    listed = read(viewer, "/runs?state=promoted&sort=model")
    assert f"/runs/{story.run_id}" in listed
    assert "No retrain has run yet" not in listed
    assert "Nothing matches these filters" in read(viewer, f"{MODEL}/runs?state=failed")


def test_runs_that_failed_or_cannot_be_read_are_shown_with_what_is_known(
    site: Site, story: Story, open_as: OpenAs
) -> None:
    with site.database.write() as db:
        base = db.get_one(Run, story.run_id)
        made = {"model_id": story.model_id, "decision_id": base.decision_id, "champion_version": "v2", "approvals": []}
        killed = Run(**made, spec_revision=2, state="failed", error=HOSTILE, created_at=site.clock.now(), attempts=3)
        broken = Run(**made, spec_revision=9, state="training", created_at=site.clock.now(),
                     progress={"phase": "train", "step": 3, "steps": 9, "loss": 0.5, "eta_s": 4.0,
                               "series": [[1, 0.9, 2**30], [2, None, None], [3, 0.5, 2**30]]})  # fmt: skip
        spoilt = Run(
            **made,
            spec_revision=2,
            state="rejected",
            error="x",
            created_at=site.clock.now(),
            metrics={"loss": [1.0, None, "NaN", 0.5]},
            evaluation={"differences": [{"name": "accuracy"}]},
        )
        document = db.query(SpecRevision).filter_by(model_id=story.model_id, revision=2).one()
        db.add(SpecRevision(model_id=story.model_id, revision=9, digest="sha256:x", document={"model": 1},
                            author="x", created_at=document.created_at))  # fmt: skip
        db.add_all([killed, broken, spoilt])
        db.flush()
        ids = [run.id for run in (killed, broken, spoilt)]
    viewer = open_as(Role.VIEWER)
    pages = [read(viewer, f"/runs/{run}") for run in ids]
    assert "It failed, and v2 stays champion: &lt;script&gt;alert(1)" in pages[0]
    assert "<script>alert(1)" not in "".join(pages)
    assert "The rules of this run cannot be read" in pages[1]
    assert "step 3 of 9" in pages[1]
    assert "The loss was not finite in 1 step" in pages[2]
    listed = read(viewer, "/runs")
    assert "4 runs." in listed


def test_what_waits_is_decided_by_those_who_may_and_others_see_why_not(
    site: Site, story: Story, open_as: OpenAs
) -> None:
    with site.database.write() as db:
        run = waiting_run(site, db, story, None).id
    viewer, approver = open_as(Role.VIEWER), open_as(Role.APPROVER)
    far = open_as(Role.APPROVER, ["another"])
    assert "a person with the role approver or admin decides this" in read(viewer, "/approvals").replace("Your", "your")
    assert f'action="/runs/{run}/approve"' not in read(viewer, f"/runs/{run}")
    assert f'action="/runs/{run}/reject"' in read(approver, "/approvals?show=mine")
    assert "Nothing waits for a person." in read(far, "/approvals")
    assert far.get(f"/runs/{run}").status_code == 404
    assert approver.post(f"/runs/{run}/reject", data={"reason": HOSTILE}).status_code == 303
    assert "rejected by approver-0@example.com" in read(viewer, f"/runs/{run}")
    assert "Nothing waits for a person." in read(approver, "/approvals")


def test_the_registry_names_every_version_and_offers_moves_to_those_who_may(story: Story, open_as: OpenAs) -> None:
    viewer, operator = open_as(Role.VIEWER), open_as(Role.OPERATOR)
    assert "accuracy 0.894" in read(viewer, "/registry?stage=champion")
    shown = read(viewer, f"{MODEL}/versions/v2")
    assert "v2 answers since" in shown
    assert "a person with the role operator or approver or admin moves versions" in shown
    assert 'action="/models/support-intents/rollback"' in read(operator, f"{MODEL}/versions/v2")
    assert "judged by no gate" in read(operator, f"{MODEL}/versions/v1")
    assert "Its scores" not in read(viewer, f"{MODEL}/compare?before=v1&after=v2")
    assert "They were judged on the same rows" in read(viewer, f"{MODEL}/compare?before=v1&after=v2")
    assert viewer.get(f"{MODEL}/versions/v77").status_code == 404
    wrong = operator.post(f"{MODEL}/versions/v1/stage", data={"stage": "king", "reason": "x"})
    assert (wrong.status_code, "choose from challenger, shadow, retired" in wrong.text) == (422, True)
    share = operator.post(f"{MODEL}/versions/v1/promote", data={"stage": "canary", "share": "many", "reason": "x"})
    assert (share.status_code, "write per cent" in share.text) == (422, True)
    assert viewer.post(f"{MODEL}/rollback", data={"reason": "x"}).status_code == 403
    # the files of v2 are not there: no reason to keep it
    back = operator.post(f"{MODEL}/rollback", data={"reason": HOSTILE})
    assert (back.status_code, back.headers.get("location")) == (303, f"{MODEL}/versions/v2"), back.text
    after = read(viewer, f"{MODEL}/versions/v2")
    assert "v2 was champion from " in after
    assert "rejected since: it was rolled back from" in after
    assert "rolled back from, to v1" in after
    assert "<script>alert" not in after
    assert "Rolled back from v2" in read(viewer, f"/runs/{story.run_id}")


def test_ten_thousand_versions_are_paged(site: Site, story: Story, open_as: OpenAs) -> None:
    with site.database.write() as db:
        began = site.clock.now()
        db.add_all(
            ModelVersion(model_id=story.model_id, version=f"w{i}", stage="rejected", base_model="b",
                         base_digest="sha256:b", created_at=began + timedelta(seconds=i)) for i in range(300)
        )  # fmt: skip
    viewer = open_as(Role.VIEWER)
    first = read(viewer, f"{MODEL}/versions")
    assert "302 versions" in first
    assert first.count("<tr>") == 51
    assert ">v2<" in first
    assert ">w0<" in read(viewer, f"{MODEL}/versions?page=7")


def test_a_dataset_says_where_its_rows_come_from_and_what_used_them(site: Site, story: Story, open_as: OpenAs) -> None:
    with site.database.write() as db:
        row = db.query(Dataset).filter_by(model_id=story.model_id, role="train").one()
        mark = {"erasure": "e-1", "rows_removed": 10, "digest_before": row.digest}
        row.provenance = {**row.provenance, "erasures": [mark], "labels": {HOSTILE: 7, "a": 3}}
        found = row.id
        gate = db.query(GateRow).filter_by(run_id=story.run_id, gate="forgetting").one()
        gate.evidence = {"value": float("1e-3"), "low": None, "high": None, "metric": "accuracy", "power": None}
    viewer, far = open_as(Role.VIEWER), open_as(Role.VIEWER, ["another"])
    shown = read(viewer, f"/datasets/{found}")
    assert "10 rows were erased since" in shown
    assert "its file is not there any more" in shown
    assert f'href="/runs/{story.run_id}"' in shown
    assert "<script>alert" not in shown
    assert "train set of run" in read(viewer, "/datasets?made=curated&sort=-rows")
    assert far.get(f"/datasets/{found}").status_code == 404
    assert "0 datasets" in read(far, "/datasets")
    assert read(viewer, f"/runs/{story.run_id}")
    assert "asked for by a person with the role operator or admin" in read(viewer, f"{MODEL}/retrain").lower()


def test_what_a_page_refuses_is_not_kept_in_part(site: Site, story: Story, open_as: OpenAs) -> None:
    """The approval is written first, and then its promotion is refused: neither is kept."""
    with site.database.write() as db:
        row = waiting_run(site, db, story, None)
        row.champion_version, run = "v1", row.id  # v2 is champion by now
    approver, validator = open_as(Role.APPROVER), open_as(Role.VALIDATOR)
    attested = validator.post(f"/runs/{run}/attest", data={"reason": "looked at", "evidence": "doc 7"})
    assert attested.status_code == 303, attested.text
    refused = approver.post(f"/runs/{run}/approve", data={"reason": "fine"})
    assert (refused.status_code, "Nothing was changed" in refused.text) == (409, True), refused.text
    with site.database.read() as db:
        assert db.get_one(Run, run).approvals == []
    plain = approver.post(f"/runs/{run}/approve", data={"reason": ""}, headers={"Accept": "*/*"})
    assert (plain.status_code, "<h1>Request refused</h1>" in plain.text) == (422, True)
    long = validator.post(f"/runs/{run}/attest", data={"reason": "x", "evidence": "y" * 2001})
    assert (long.status_code, "the evidence has 2001 characters" in long.text.lower()) == (422, True), long.text
