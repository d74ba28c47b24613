"""One installation with a story in every table that people are shown, its checkpoints, and a bundle."""

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import select
from sqlalchemy.orm import Session

from bench.proofs.filler import fill
from core import settings
from core.clock import ManualClock
from governance.access.api_keys import create_key, revoke_key
from governance.access.rights import all_differences
from governance.access.roles import Role
from governance.binding.check import check_rows
from governance.ledger.extends import Places
from governance.ledger.selfcheck import verify_ledger
from governance.tables import Erasure
from governance.verify.findings import Finding
from monitor.finding_tables import AlertFinding
from monitor.notify.tables import Deploy, Maintenance
from monitor.site import Site, open_site
from monitor.tables import (
    Alert,
    AlertWindow,
    FairnessCause,
    IncidentNote,
    LaterVerdict,
    Mute,
    QuarantineDecision,
    Window,
)
from reports import schedules, service
from retrain.tables import AttributionReference, DecisionReasons, FairnessFlip
from tests.reports.story import Story, tell
from tests.reports.story_teller import END, START

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Installation:
    """`home` holds everything but the one anchor that is kept elsewhere, `outside`."""

    site: Site
    story: Story
    home: Path
    outside: Path
    bundle: bytes

    def findings(self, db: Session) -> list[Finding]:
        """What `assay verify` finds in what a transaction sees: of the ledger, of rights, and of rows."""
        found = list(verify_ledger(db, places=Places(self.outside), vkeys=[self.site.keys.vkey]).findings)
        try:
            wrong = all_differences(db)
        except (ValueError, TypeError) as error:  # a column in a form that Assay never writes
            wrong = {"": str(error)}
        for prefix, words in wrong.items():
            found.append(Finding("key.rights", f"key {prefix}", "as in the ledger", words))
        return found + list(check_rows(db).findings)


def migrate(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["url"] = url
    command.upgrade(config, "head")


def build(folder: Path) -> Installation:
    """Tell the story into a fresh home, report it, and sign what was written."""
    home, outside = folder / "home", folder / "outside"
    loaded = settings.load({"ASSAY_LEDGER__ANCHOR": str(outside)}, home=home)
    migrate(loaded.database_url)
    site = open_site(loaded, ManualClock(END))
    with site.database.write() as db:
        story = tell(site, db)
    with site.database.write() as db:
        _rest(db, story)
    with site.database.write() as db:
        for name, role in (("ann", Role.ADMIN), ("bea", Role.VIEWER), ("cyd", Role.VIEWER)):
            key, _ = create_key(db, name=name, role=role, actor="assay", owner=name.title(), now=END)
        revoke_key(db, prefix=key.prefix, actor="assay", now=END)
    sign(site)
    with site.database.write() as db:
        row = service.request(site, db, "support-intents", "audit", START, END, [], "ann")
        schedules.declare(site, db, schedules.Wanted(every="month", model="support-intents"), "ann")
    files = service.build(site, row.id).files or {}
    with site.database.write() as db:
        fill(db, END)
    sign(site)
    return Installation(site, story, home, outside, site.artifacts.get(files["zip"]))


def sign(site: Site) -> None:
    with site.database.write() as db:
        site.sign_ledger(db)


def _rest(db: Session, story: Story) -> None:
    """What the story leaves out: notes, mutes, deploys, quarantine, a later verdict, an erasure."""
    model, window = story.model_id, db.scalars(select(Window).order_by(Window.to_ts)).all()[3]
    db.add(LaterVerdict(
        window_id=window.id, spec_revision=2, verdict="alarm", sentence="drift", drift="drift", p=0.001, alpha=0.01,
        readings=[{"metric": "accuracy", "value": 0.5}], judged_seq=window.to_seq, next_outcome=4, judged_at=END,
    ))  # fmt: skip
    db.add(Mute(model_id=model, reason="known", until=END, created_at=START, created_by="ann"))
    db.add(Maintenance(model_id=model, from_ts=START, to_ts=END, reason="move", created_at=START, created_by="ann"))
    db.add(Deploy(model_id=model, version="v2", at=START, note="by hand", created_at=START, created_by="ann"))
    db.add(QuarantineDecision(model_id=model, row="r1", state="discarded", by="ann", at=START))
    db.add(Erasure(
        subject="d" * 64, models=["support-intents"], state="done", steps=[], found=None, requested_entry=1,
        requested_by="ann", requested_at=START, completed_at=END,
    ))  # fmt: skip
    db.add(FairnessCause(
        model_id=model, alert_id=story.alert_id, window_id=window.id, metric="equalized_odds_difference",
        column="age_band", document={"value": 0.2, "sentences": ["Accuracy: b 70.0% of 400, a 90.0% of 400."]},
        computed_at=END,
    ))  # fmt: skip
    db.add(AlertFinding(
        alert_id=story.alert_id, window_id=window.id, state="found", sentence="What changed most: `text`.",
        figures={"about": "drift", "drivers": [{"column": "text", "weight": 0.9}]},
        examples=[{"event_id": "e1", "by": ["text"]}], created_at=END,
    ))  # fmt: skip
    db.add(FairnessFlip(
        model_id=model, version="v2", alert_id=story.alert_id, at=END,
        document={"tests": [{"test": "terms", "n": 300, "changed": 4, "share": 4 / 300, "examples": []}]},
    ))  # fmt: skip
    db.add(DecisionReasons(
        model_id=model, event_id="e1", version="v1", spec_revision=1, state="issued", table_version="1",
        artifact="sha256:" + "e" * 64, created_at=END,
    ))  # fmt: skip
    db.add(AttributionReference(
        model_id=model, key="sha256:" + "a" * 64, population="reference", version="v1", rows=500,
        artifact="sha256:" + "f" * 64, created_at=END,
    ))  # fmt: skip
    alert = db.get_one(Alert, story.alert_id)
    db.add(AlertWindow(alert_id=alert.id, window_id=window.id, alarms=True))
    known = db.scalars(select(IncidentNote).where(IncidentNote.incident_id == alert.incident_id)).all()
    db.add(IncidentNote(
        incident_id=alert.incident_id, number=len(known) + 1, at=END, actor="ann", kind="comment", text="seen",
        alert_id=alert.id,
    ))  # fmt: skip
