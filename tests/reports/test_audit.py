"""The audit report, from rows to JSON, PDF and bundle, on both databases."""

import io
import json
import re
import subprocess
import zipfile
from datetime import timedelta
from pathlib import Path

import pypdf
import pytest

from core import queue
from core.clock import ManualClock
from core.errors import InvalidError, NotFoundError
from core.jobs import ReportJob
from governance.ledger.append import append_entry
from governance.ledger.read import ledger_lines, ledger_size
from governance.verify.bundle import verify_bundle_bytes
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Dataset, Model, SpecRevision, Window
from reports import jobs, service, store
from reports.document import AuditReport
from reports.tables import Report
from retrain.tables import GateRow, Run, TriggerDecision
from tests.databases import SQLITE_FIRST, SQLITE_ONLY
from tests.reports.story import Story, tell
from tests.reports.story_teller import END, SPEC, START, STEP


@pytest.fixture
def story(site: Site, clock: ManualClock) -> Story:
    clock.move_to(END + timedelta(hours=3))
    with site.database.write() as db:
        return tell(site, db)


def asked(site: Site) -> Report:
    with site.database.write() as db:
        return service.request(site, db, "support-intents", "audit", START, END, [], "a.lindqvist")


def document(site: Site, row: Report) -> AuditReport:
    assert row.files is not None
    return AuditReport.model_validate_json(site.artifacts.get(row.files["json"]))


def test_a_request_is_queued_and_the_job_builds_it(site: Site, story: Story) -> None:
    row = asked(site)
    with site.database.write() as db:
        job = queue.claim(db, worker="w", now=site.clock.now(), lease_s=30)
    assert job is not None
    assert job.name == ReportJob.name
    assert jobs.build(site, ReportJob.model_validate(job.payload)) is None
    with site.database.read() as db:
        built = store.report(db, row.id)
    assert built.state == "ready"
    assert set(built.files or {}) == {"json", "pdf", "html", "csv", "zip", "charts", "ledger_index"}


def test_every_claim_carries_its_numbers_and_its_ledger_entry(site: Site, story: Story) -> None:
    report = document(site, service.build(site, asked(site).id))
    assert report.status == "ok"
    assert report.health.startswith(
        "Quiet since 2026-03-15 00:00 UTC: 8 windows without drift. Realised accuracy 0.899"
    )
    assert report.identity.spec_revision == 2
    assert report.identity.spec_digest == parse_spec(SPEC).digest
    assert len(report.windows) == 34
    assert sum(1 for m in report.kpi if m.value is not None) == 66
    assert all((m.value is None) == (m.reason is not None) for m in report.kpi)
    cited = [
        report.identity.spec_entry, *(s.entry for s in report.specs), *(b.entry for b in report.baselines),
        *(a.opened_entry for a in report.alerts), *(a.acknowledged_entry for a in report.alerts),
        *(a.resolved_entry for a in report.alerts), *(d.entry for d in report.decisions),
        *(d.entry for r in report.runs for d in r.datasets), *(g.entry for r in report.runs for g in r.gates),
        *(r.started_entry for r in report.runs), *(v.promoted_entry for v in report.versions),
    ]  # fmt: skip
    assert None not in cited
    assert [(i.alerts, i.severity) for i in report.incidents], "the alerts stand with their incidents"
    assert {i.id for i in report.incidents} == {a.incident for a in report.alerts}
    assert all(a.severity in ("info", "warning", "critical") for a in report.alerts)
    assert [(d.fired, bool(d.blocked_by)) for d in report.decisions] == [(False, True), (True, False)]
    assert {(g.gate, g.verdict) for g in report.runs[0].gates} == {
        (g, "pass") for g in ("no_regression", "fairness", "forgetting", "integrity")
    }  # fmt: skip


@SQLITE_FIRST
def test_entries_cited_speak_of_what_they_are_cited_for(site: Site, story: Story) -> None:
    report = document(site, service.build(site, asked(site).id))
    with site.database.read() as db:
        lines = [json.loads(line) for line in ledger_lines(db)]
    for alert in report.alerts:
        assert alert.opened_entry is not None
        assert lines[alert.opened_entry]["body"]["alert"] == alert.id
    for dataset in report.runs[0].datasets:
        assert dataset.entry is not None
        assert lines[dataset.entry]["body"]["digest"] == dataset.digest


@SQLITE_FIRST
def test_a_promotion_is_cited_by_the_version_it_promotes(site: Site, story: Story) -> None:
    """The entry that promotes v2 names v1 too, as the version before it."""
    with site.database.write() as db:
        append_entry(
            db, kind="version.promoted", actor="assay", subject="model:support-intents", at=END,
            body={"version": "v3", "previous": "v1"},
        )  # fmt: skip
    report = document(site, service.build(site, asked(site).id))
    with site.database.read() as db:
        lines = [json.loads(line) for line in ledger_lines(db)]
    for version in report.versions:
        assert version.promoted_entry is not None
        assert lines[version.promoted_entry]["body"]["version"] == version.version


@SQLITE_FIRST
def test_where_files_lay_on_the_host_is_left_out(site: Site, story: Story) -> None:
    row = service.build(site, asked(site).id)
    assert row.files is not None
    bundle = zipfile.ZipFile(io.BytesIO(site.artifacts.get(row.files["zip"])))
    for name in bundle.namelist():
        if name == "report.json" or name.startswith("datasets/"):
            assert b"/srv/" not in bundle.read(name)
    run = document(site, row).runs[0]
    assert run.config is not None
    assert run.config["base_dir"] == "base-3m"
    assert run.config["train"]["sha256"].startswith("sha256:")
    assert run.config_digest is not None


@SQLITE_FIRST
def test_a_thousand_labels_and_thousands_of_steps_are_printed_in_few_words(
    site: Site, story: Story, pdftotext: str, tmp_path: Path
) -> None:
    labels = [f"a_rather_long_name_of_an_intent_that_customers_have_{i}" for i in range(1000)]
    counts = {label: 40 + i % 60 for i, label in enumerate(labels)}
    with site.database.write() as db:
        run = db.get_one(Run, story.run_id)
        run.config = {**(run.config or {}), "labels": labels}
        curve = [3.0 / (1 + i / 100) for i in range(5000)]
        run.metrics = {**(run.metrics or {}), "loss": curve, "grad_norm": curve, "labels_new": labels[500:]}
        for dataset in db.query(Dataset):
            dataset.provenance = {**dataset.provenance, "labels": counts}
        for decision in db.query(TriggerDecision):
            decision.reason, decision.triggers = "x" * 40_000, []
        for gate in db.query(GateRow):
            gate.reason = "a very long reason " * 3000
        for alert in db.query(Alert):
            alert.sentence = "word" * 10_000
    row = service.build(site, asked(site).id)
    assert row.state == "ready"
    kept = document(site, row).runs[0]
    assert kept.metrics is not None
    assert len(kept.metrics["loss"]) == 5000
    assert kept.datasets[0].provenance["labels"] == counts
    assert row.files is not None
    assert len(site.artifacts.get(row.files["charts"][f"loss-{story.run_id}.svg"])) < 30_000
    (tmp_path / "report.pdf").write_bytes(site.artifacts.get(row.files["pdf"]))
    printed = subprocess.run(
        [pdftotext, "-layout", "report.pdf", "-"], cwd=tmp_path, capture_output=True, check=True
    ).stdout.decode()
    assert printed.count("\x0c") < 20
    assert "1,000; new:" in re.sub(r"\s+", " ", printed)
    assert "and 494 more" in re.sub(r"\s+", " ", printed)
    assert "cut in print" in re.sub(r"\s+", " ", printed)
    assert verify_bundle_bytes(site.artifacts.get(row.files["zip"]), [site.keys.vkey]).ok


@SQLITE_FIRST
def test_a_model_whose_new_reference_is_still_unjudged_says_what_it_knows(site: Site, story: Story) -> None:
    """Right after a promotion the last judged window is the drifted one before it."""
    with site.database.write() as db:
        for window in db.query(Window).filter(Window.to_ts > START + 22 * STEP):
            window.decision = {**window.decision, "verdict": "reference", "judged": False, "p": None}
    report = document(site, service.build(site, asked(site).id))
    assert report.status == "ok"
    assert report.health.startswith("No open alert: the drift alarm has been resolved. Realised accuracy 0.899")
    assert report.health.endswith(
        "Since 2026-03-13 00:00 UTC 12 windows are not judged for drift: the rows belong to the reference itself."
    )


@SQLITE_FIRST
def test_a_model_without_a_judged_window_says_why_once(site: Site, story: Story) -> None:
    with site.database.write() as db:
        for window in db.query(Window):
            window.decision = {**window.decision, "verdict": "no_reference", "judged": False, "p": None}
            window.sentence = "Drift not judged: the reference could not be fitted: no column varies."
    report = document(site, service.build(site, asked(site).id))
    assert report.health.startswith(
        "Drift is not judged yet: the reference could not be fitted: no column varies. Realised accuracy"
    )


@SQLITE_FIRST
def test_a_threshold_holds_since_the_spec_that_set_it(site: Site, story: Story) -> None:
    report = document(site, service.build(site, asked(site).id))
    since = {t.metric: t.revision for t in report.thresholds}
    assert since["accuracy"] == 1
    assert since["equalized_odds_difference"] == 2


@SQLITE_FIRST
def test_what_was_not_measured_is_named_with_its_reason(site: Site, story: Story) -> None:
    report = document(site, service.build(site, asked(site).id))
    missing = {m.what: (m.why, m.count) for m in report.not_measured}
    assert missing["judge drift in some windows"] == ("8 × the rows belong to the reference itself", 8)
    assert missing["measure accuracy in some windows"] == ("1 × 62 labelled rows, 100 needed", 1)
    assert missing["consider a retrain at 0 3 * * 0 UTC"][1] == 2
    answers = {v.question: v.answer for v in report.verdicts}
    assert answers["Did accuracy stay inside its limit?"] == "not held"
    assert answers["Did f1 macro stay inside its limit?"] == "none"
    assert answers["Did equalized odds difference stay inside its limit?"] == "held"
    small = [g for g in report.groups if g.group == "unknown"]
    assert small
    assert all(g.value is not None and g.reason is not None and "not compared" in g.reason and g.n == 12 for g in small)


@SQLITE_FIRST
def test_wording_claims_evidence_and_never_conformity(site: Site, story: Story, pdftotext: str, tmp_path: Path) -> None:
    row = service.build(site, asked(site).id)
    assert row.files is not None
    (tmp_path / "report.pdf").write_bytes(site.artifacts.get(row.files["pdf"]))
    text = subprocess.run(
        [pdftotext, "-layout", "report.pdf", "-"], cwd=tmp_path, capture_output=True, check=True
    ).stdout.decode()
    assert "compliant" not in text
    assert "evidence for" in text
    assert "Digest of report.json" in text
    assert "\x0c" in text
    assert row.files["json"].removeprefix("sha256:") in re.sub(r"[\s\u200b]", "", text)


@SQLITE_FIRST
def test_the_pdf_is_archival_and_its_bytes_repeat(site: Site, story: Story) -> None:
    from reports.render.pdf import typeset

    row = service.build(site, asked(site).id)
    assert row.files is not None
    pdf = site.artifacts.get(row.files["pdf"])
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert b"<pdfaid:part>2</pdfaid:part>" in pdf
    assert reader.metadata is not None
    assert reader.metadata.title == "Audit report: support-intents"
    charts = {name: site.artifacts.get(digest).decode() for name, digest in row.files["charts"].items()}
    assert typeset(document(site, row), charts) == pdf


@SQLITE_FIRST
def test_the_bundle_verifies_offline_and_a_changed_byte_is_found(site: Site, story: Story) -> None:
    row = service.build(site, asked(site).id)
    assert row.files is not None
    bundle = site.artifacts.get(row.files["zip"])
    assert verify_bundle_bytes(bundle, [site.keys.vkey]).ok
    names = set(zipfile.ZipFile(io.BytesIO(bundle)).namelist())
    assert {"report.json", "report.pdf", "spec.json", "champion.json", "champion.note", "charts/timeline.svg"} <= names
    assert sum(name.startswith("datasets/") for name in names) == 3
    at = bundle.index(b"support-intents")
    assert not verify_bundle_bytes(bundle[:at] + b"X" + bundle[at + 1 :], [site.keys.vkey]).ok


@SQLITE_FIRST
def test_building_twice_adds_nothing(site: Site, story: Story) -> None:
    row = asked(site)
    first = service.build(site, row.id)
    with site.database.read() as db:
        size = ledger_size(db)
    again = service.build(site, row.id)
    assert again.files == first.files
    with site.database.read() as db:
        assert ledger_size(db) == size
        entry = store.entry(db, (first.files or {})["ledger_index"])
    assert entry is not None
    assert (entry.kind, entry.body["sha256"], entry.body["pdf_sha256"]) == (
        "report.created", (first.files or {})["json"], (first.files or {})["pdf"],
    )  # fmt: skip


def test_a_build_that_was_cut_off_goes_on_with_the_same_entry(site: Site, story: Story) -> None:
    row = asked(site)
    first = service.build(site, row.id)
    with site.database.write() as db:
        cut = store.report(db, row.id, lock=True)
        cut.state, cut.files = "failed", {k: v for k, v in (first.files or {}).items() if k != "zip"}
    again = service.build(site, row.id)
    assert again.state == "ready"
    assert (again.files or {})["ledger_index"] == (first.files or {})["ledger_index"]
    assert verify_bundle_bytes(site.artifacts.get((again.files or {})["zip"]), [site.keys.vkey]).ok


@SQLITE_FIRST
def test_a_failed_build_is_recorded_with_its_reason(site: Site, story: Story) -> None:
    row = asked(site)
    with site.database.write() as db:
        spec = db.query(SpecRevision).filter_by(model_id=story.model_id, revision=2).one()
        spec.document = {**spec.document, "task": "divination"}
    with pytest.raises(InvalidError):
        service.build(site, row.id)
    with site.database.read() as db:
        failed = store.report(db, row.id)
    assert failed.state == "failed"
    assert "task" in (failed.error or "")


@SQLITE_FIRST
def test_text_of_users_is_printed_as_it_is(site: Site, story: Story) -> None:
    hostile = '#set page(width: 1pt)\n$ x $ *b* \\ "quoted" <label> @ref'
    with site.database.write() as db:
        spec = db.query(SpecRevision).filter_by(model_id=story.model_id, revision=2).one()
        spec.document = {**spec.document, "purpose": hostile}
    row = service.build(site, asked(site).id)
    page = pypdf.PdfReader(io.BytesIO(site.artifacts.get((row.files or {})["pdf"]))).pages[0]
    assert page.mediabox.width == pytest.approx(595.28, abs=0.1)
    assert "#set page(width: 1pt)" in page.extract_text()


@SQLITE_ONLY
def test_any_script_is_printed_and_what_has_no_glyph_or_deceives_is_named(site: Site, story: Story) -> None:
    scripts = "\U0001f600 \u9519\u8bef \u3042 \ud55c\uad6d \u0e01\u0e32\u0e23 \u12a0\u121b Z\u00fcrich"
    unseen = "\ue000 \uffff a\u202eb c\u200bd \u0007 " + "\ue001" * 40
    with site.database.write() as db:
        spec = db.query(SpecRevision).filter_by(model_id=story.model_id, revision=2).one()
        spec.document = {**spec.document, "purpose": f"{scripts} \u05e9\u05dc\u05d5\u05dd \u0645\u0631 {unseen}"}
    row = service.build(site, asked(site).id)
    text = pypdf.PdfReader(io.BytesIO(site.artifacts.get((row.files or {})["pdf"]))).pages[0].extract_text()
    printed = " ".join(text.replace("\u200b", "").split())
    assert scripts in printed
    assert {"\u05e9", "\u0645"} <= set(printed)
    for named in ("[U+E000] [U+FFFF] a[U+202E]b c[U+200B]d [U+0007]", "[40 characters that this print cannot show"):
        assert named in printed
    assert document(site, row).identity.purpose.endswith("\ue001"), "report.json has them all"


@SQLITE_FIRST
def test_a_model_without_events_is_reported_as_not_measured(site: Site, clock: ManualClock) -> None:
    spec = parse_spec(SPEC)
    with site.database.write() as db:
        model = Model(name=spec.model, created_at=clock.now())
        db.add(model)
        db.flush()
        db.add(
            SpecRevision(model_id=model.id, revision=1, digest=spec.digest, document=spec.document, author="a",
                         created_at=clock.now())
        )  # fmt: skip
    report = document(site, service.build(site, asked(site).id))
    assert report.status == "unknown"
    assert report.health == "No events yet, so nothing is judged."
    assert "the whole period" in {m.what for m in report.not_measured}
    assert report.checkpoint is not None, "the rows of the declared model are bound"


@SQLITE_FIRST
def test_what_cannot_be_reported_is_refused_with_the_fix(site: Site, story: Story) -> None:
    with site.database.write() as db:
        with pytest.raises(InvalidError, match="swap from and to"):
            service.request(site, db, "support-intents", "audit", END, START, [], "a")
        with pytest.raises(InvalidError, match="give one of audit"):
            service.request(site, db, "support-intents", "poem", START, END, [], "a")
        with pytest.raises(NotFoundError, match="nobody"):
            service.request(site, db, "nobody", "audit", START, END, [], "a")


@SQLITE_FIRST
def test_events_sent_late_take_their_alerts_and_runs_into_their_period(site: Site, story: Story) -> None:
    """The clock stood months after the events: what their windows caused still belongs to the period."""
    late = timedelta(days=200)
    with site.database.write() as db:
        for alert in db.query(Alert):
            alert.opened_at, alert.resolved_at = alert.opened_at + late, None
        for decision in db.query(TriggerDecision):
            decision.at += late
        for run in db.query(Run):
            run.created_at += late
    report = document(site, service.build(site, asked(site).id))
    assert len(report.alerts) == 2
    assert len(report.decisions) == 2
    assert len(report.runs) == 1
    assert report.status == "alarm"
    assert "the alert waits to be resolved" in report.health
