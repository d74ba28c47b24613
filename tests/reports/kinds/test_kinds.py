"""Every kind of report: what it is about, what it says, and that it claims evidence and nothing more."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.canonical import canonical
from core.clock import ManualClock
from governance.access.api_keys import first_admin
from governance.policy.holds import add_hold
from governance.tables import Erasure
from governance.verify.bundle import verify_bundle_bytes
from monitor.alerts import post_mortems, serious
from monitor.site import Site
from monitor.tables import Alert, Model
from reports import service
from reports.document import SectionsReport
from reports.kinds import KINDS, kind_named
from reports.tables import Report
from retrain.tables import Run
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell
from tests.reports.story_teller import END, START

pytestmark = SQLITE_FIRST
ADDRESS = "jane.doe@example.com"
CLAIMS = re.compile(r"complian|conform|\bfair lending is met\b|certif(y|ies) that", re.IGNORECASE)


@pytest.fixture
def story(site: Site, clock: ManualClock) -> Story:
    clock.move_to(END + timedelta(hours=3))
    with site.database.write() as db:
        return tell(site, db)


def subjects(site: Site, story: Story) -> dict[str, str]:
    """One thing of each kind that a report can be about; the erasure and the serious incident are made here."""
    proof = {
        "format": "assay-erasure/1", "subject": "f" * 64, "kept": ["Weights cannot be searched."], "adapters": [],
        "models": [{
            "model": "support-intents", "events": 3, "baselines": [], "confirmations": [], "windows_withheld": [],
            "unrecorded": [], "datasets": [], "tables": [
                {"table": "events", "rows_removed": 3, "version_after": 9, "after": {"found": 0}},
            ],
        }],
    }  # fmt: skip
    with site.database.write() as db:
        incident = db.get_one(Alert, story.alert_id).incident_id
        erased = Erasure(
            subject="f" * 64, models=["support-intents"], state="done", steps=[], found=None, requested_entry=0,
            done_entry=1, proof=site.artifacts.put(canonical(proof)), requested_by="ann", requested_at=START,
            completed_at=START + timedelta(days=1),
        )  # fmt: skip
        db.add(erased)
        db.flush()
        serious.declare(
            site, db, "support-intents", "ann", kind="other", aware_at=END, headline="wrong queue",
            description=f"A customer, {ADDRESS}, was sent away.", incident_id=incident,
        )  # fmt: skip
        post_mortems.write(
            site, db, incident, "ann", post_mortems.PostMortemText(happened="new words", cause=f"{ADDRESS} wrote them")
        )
        add_hold(db, "support-intents", begin=None, end=None, subject=None, reason="a claim", actor="ann", now=START)
        return {
            "dossier": str(story.run_id), "incident": str(incident), "model_card": "v2", "erasure": str(erased.id),
        }  # fmt: skip


def asked(site: Site, kind: str, subject: str | None = None) -> Report:
    with site.database.write() as db:
        return service.request(site, db, "support-intents", kind, START, END, [], "ann", subject=subject)


def gathered(site: Site, kind: str, subject: str | None = None) -> Any:
    row = asked(site, kind, subject)
    with site.database.read() as db:
        return kind_named(kind).gather(site, db, row)


def facts(report: SectionsReport) -> dict[str, Any]:
    found = {f.name: f.value for f in report.facts}
    return found | {f.name: f.value for s in report.sections for f in s.facts}


def rows(report: SectionsReport, caption: str) -> list[tuple[Any, ...]]:
    return [row for s in report.sections for t in s.tables if t.caption.startswith(caption) for row in t.rows]


def test_every_kind_says_what_it_is_about_and_claims_nothing(site: Site, story: Story) -> None:
    about = subjects(site, story)
    found = {kind: gathered(site, kind, about.get(kind)) for kind in KINDS}
    for kind, report in found.items():
        _claims_nothing(kind, report)
    _follows_the_run(found["dossier"], story)
    _has_its_clock(found["incident"], story)
    _says_what_it_learned_from(found["model_card"])
    _names_nobody(found["erasure"])
    assert "1 legal holds stand" in found["retention"].sentence
    assert rows(found["retention"], "Rules")[0][2] == "no end"
    assert rows(found["retention"], "Holds")[0][5] == "a claim"
    _has_nine_points(found["annex_iv"])
    assert "cannot say" in facts(found["fairness"]).values()
    assert {row[0] for row in rows(found["fairness"], "By age_band")} == {"18-34", "35-54", "55+"}
    assert rows(found["fairness"], "Exact test"), "each rate is tested against the highest"


def _claims_nothing(kind: str, report: Any) -> None:
    text = report.to_bytes().decode()
    printed = text.replace("do not state conformity with any law or standard", "")
    printed = printed.replace("8. Declaration of conformity", "").replace(
        "a copy of the EU declaration of conformity", ""
    )
    assert not CLAIMS.search(printed), kind
    assert ADDRESS not in text, f"{kind} quotes an address"
    assert (report.format, report.kind) == (KINDS[kind].format, kind)
    assert type(report).model_validate_json(text) == report
    if isinstance(report, SectionsReport):
        assert report.sentence
        assert all(f.value is not None or f.reason for f in report.facts), kind
        assert all(len(r) == len(t.columns) for s in report.sections for t in s.tables for r in t.rows), kind


def _follows_the_run(report: SectionsReport, story: Story) -> None:
    assert report.sentence == "It was promoted: v2 was made from v1; 4 of 4 gates passed; its limits: inside."
    assert report.subject == str(story.run_id)
    assert {row[0] for row in rows(report, "Gates")} == {"fairness", "forgetting", "integrity", "no regression"}
    assert [(row[1], row[2], row[3]) for row in rows(report, "What people did")] == [
        ("m.ortiz", f"approved run {str(story.run_id)[:8]}", "reviewed the gates")
    ]
    assert rows(report, "Versions put into service")[0][1] == "promoted v2"
    assert len(report.decisions) == 1
    assert all(row[-1] is not None for row in rows(report, "Sets of rows"))


def _has_its_clock(report: SectionsReport, story: Story) -> None:
    found = facts(report)
    assert found["Clock"] == "running"
    assert (found["What happened"], found["Impact"], found["Version"]) == ("new words", None, 1)
    assert next(f.entry for s in report.sections for f in s.facts if f.name == "Digest of the texts") is not None
    assert found["Tell an authority by"] == (END + timedelta(days=15)).isoformat()
    assert found["Time left, hours"] == 15 * 24 - 3.0
    assert [a.id for a in report.alerts] == [str(story.alert_id)], "the other incident's alert is left out"
    assert {row[2].split(" ")[0] for row in rows(report, "What people did")} >= {"acknowledged", "resolved"}


def _says_what_it_learned_from(report: SectionsReport) -> None:
    assert "trained in run" in report.sentence
    assert "approved by m.ortiz" in report.sentence
    assert "base-3m" in str(facts(report)["Base model"])
    assert rows(report, "Sets of rows")[0][4] == 4210


def _names_nobody(report: SectionsReport) -> None:
    assert "3 rows of 1 tables were removed; 0 were found afterwards" in report.sentence
    assert rows(report, "Tables of events") == [("events", 3, 0, 9)]
    assert "f" * 64 not in report.to_bytes().decode()
    assert facts(report)["Models"] == "support-intents"


def _has_nine_points(report: SectionsReport) -> None:
    assert {s.title[0] for s in report.sections} == set("123456789")
    assert sum(len(s.supply) for s in report.sections) == facts(report)["Items people must supply"]
    assert not next(s for s in report.sections if s.title.startswith("8")).tables


def test_an_unfinished_run_has_a_dossier_that_says_not_yet(site: Site, story: Story) -> None:
    with site.database.write() as db:
        run = db.get_one(Run, story.run_id)
        run.state, run.finished_at, run.evaluation = "awaiting_approval", None, None
    report = gathered(site, "dossier", str(story.run_id))
    assert report.sentence.startswith("It has not ended, its state is awaiting approval")
    assert ("the rest of the run", "not yet: it is awaiting approval") in [(m.what, m.why) for m in report.not_measured]


def test_a_bundle_of_a_kind_verifies_offline_with_its_proof(site: Site, story: Story) -> None:
    row = service.build(site, asked(site, "dossier", str(story.run_id)).id)
    assert row.files is not None
    assert (row.error, "pdf" in row.files) == (None, True)
    bundle = site.artifacts.get(row.files["zip"])
    verdict = verify_bundle_bytes(bundle, [site.keys.vkey])
    assert verdict.ok, verdict.findings
    assert "change.json" in verdict.facts.files
    assert "lines are as the ledger bound them" in str(verdict.facts.printed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [name for name in KINDS if name not in ("dossier", "audit")])
def test_every_kind_is_typeset_and_verifies(site: Site, story: Story, kind: str) -> None:
    row = service.build(site, asked(site, kind, subjects(site, story).get(kind)).id)
    assert row.files is not None
    assert (row.error, "pdf" in row.files) == (None, True)
    verdict = verify_bundle_bytes(site.artifacts.get(row.files["zip"]), [site.keys.vkey])
    assert verdict.ok, verdict.findings


@pytest.fixture
def client(site: Site, story: Story) -> Iterator[TestClient]:
    key = first_admin(site)
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"}) as made:
        yield made


def test_a_wrong_kind_or_subject_is_refused_with_what_may_be_given(
    client: TestClient, site: Site, story: Story
) -> None:
    with site.database.write() as db:
        other = Model(name="other", revision=1, created_at=START)
        db.add(other)
    url = "/api/v1/models/support-intents/reports"
    unknown = client.post(url, json={"kind": "audti"})
    assert unknown.status_code == 422
    assert unknown.json()["field"] == "kind"
    assert all(kind in unknown.json()["detail"] for kind in KINDS)
    for kind, subject, words in (
        ("dossier", None, "give the id of a run of support-intents"),
        ("dossier", str(uuid4()), str(story.run_id)),
        ("dossier", "<script>", "is about one run"),
        ("model_card", "v9", "v1, v2"),
        ("incident", str(story.run_id), "its alerts name it"),
        ("erasure", "x", "covers support-intents"),
        ("audit", "v2", "is about a period; leave it out"),
    ):
        answer = client.post(url, json={"kind": kind, "subject": subject})
        assert answer.status_code == 422, (kind, subject)
        assert answer.json()["field"] == "subject"
        assert words in answer.json()["detail"], answer.json()["detail"]
    taken = client.post(url, json={"kind": "dossier", "subject": str(story.run_id)})
    assert taken.status_code == 202, taken.text
    assert taken.json()["subject"] == str(story.run_id)
    both = client.post(url, json={"kind": "dossier", "subject": str(story.run_id), "from": "2026-03-01"})
    assert (both.status_code, both.json()["field"]) == (422, "from"), "a period is not left out in silence"
    elsewhere = client.post("/api/v1/models/other/reports", json={"kind": "dossier", "subject": str(story.run_id)})
    assert elsewhere.status_code == 422, "a run of another model is not told"
    assert str(story.run_id) not in elsewhere.json()["detail"].partition("give the id")[2]
