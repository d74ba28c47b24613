"""Every page, one line each, and what the walk looks at in them.

A page is added by its line. What it must show goes into the story (tests/reports/story.py) or into `also` below.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from governance.access.roles import Permission, Role
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Dataset, Window
from reports import schedules, service
from reports.tables import Report
from tests.reports.story import Story
from tests.reports.story_teller import SPEC

MODEL = "/models/support-intents"
TRACE = "a" * 32


@dataclass(frozen=True)
class Page:
    """One page.

    Args:
        name: of its picture.
        path: with the placeholders that `places` fills in.
        said: a text of it, so that the page is the one meant.
        permission: what its route asks for; roles without it are not walked there.
        status: 200, or what the page answers.
    """

    name: str
    path: str
    said: str
    permission: Permission = Permission.READ
    status: int = 200


PAGES = (
    Page("overview", "/", "All quiet"),
    Page("model", "/models/support-intents", "Quiet since 2026-03-15"),
    Page("models", "/models", "support-intents"),
    Page("model-segment", "/models/support-intents?since=2026-03-05&until=2026-03-12", "Over time"),
    Page("windows", "/models/support-intents/windows?verdict=alarm", "windows"),
    Page("columns", "/models/support-intents/columns", "confidence"),
    Page("column", "/models/support-intents/columns/confidence?window={window}", "It alarms"),
    Page("reference", "/models/support-intents/reference", "Earlier references"),
    Page("spec", "/models/support-intents/spec", "The budget is"),
    Page("governance", "/models/support-intents/governance", "Stop switch"),
    Page("fairness", "/models/support-intents/fairness", "support-intents"),
    Page("window", "/windows/{window}", "Measurements"),
    Page("lineage", "/models/support-intents/lineage", "What everything was made from", Permission.READ),
    Page("alert", "/alerts/{alert}", "unknown words"),
    Page("alerts", "/alerts", "No alert waits"),
    Page("incident", "/incidents/{incident}", "Retrains and deploys"),
    Page("incidents", "/incidents", "An incident holds alerts of one cause"),
    Page("run", "/runs/{run}", "v2 was promoted to champion"),
    Page("runs", "/runs", "1 run"),
    Page("model-runs", "/models/support-intents/runs?state=failed", "Nothing matches"),
    Page("retrain", "/models/support-intents/retrain", "Considered before"),
    Page("approvals", "/approvals", "Nothing waits for a person"),
    Page("registry", "/registry", "1 model has a champion"),
    Page("versions", "/models/support-intents/versions", "one is champion"),
    Page("version", "/models/support-intents/versions/v2", "v2 answers since"),
    Page("compare", "/models/support-intents/compare", "judged on the same rows"),
    Page("predictions", "/models/support-intents/versions/v2/predictions", "No event names v2", Permission.EVENTS_READ),
    Page("datasets", "/datasets", "3 datasets"),
    Page("dataset", "/datasets/{dataset}", "4,210 rows of support-intents"),
    Page("reports", "/reports", "Build a report"),
    Page("report", "/reports/{report}", "Audit report of support-intents"),
    Page("report-schedules", "/reports/schedules", "the last quarter"),
    Page("regimes", "/reports/regimes", "eu-ai-act"),
    Page("regime", "/reports/regimes/nyc-ll144", "Requirements"),
    Page("verify", "/reports/verify", "Choose a bundle"),
    Page("events", "/events", "Look a decision up", Permission.EVENTS_READ),
    Page("decisions", "/decisions?event_id=asked-1", "1 decision has the id", Permission.EVENTS_READ),
    Page("event", f"{MODEL}/event?event_id=asked-1&similar=1", "Where it was used", Permission.EVENTS_READ),
    Page("explorer", f"{MODEL}/events?where=text:contains:card", "3 events that fit", Permission.EVENTS_READ),
    Page("trace", f"{MODEL}/traces/{TRACE}", "3 events of this model", Permission.EVENTS_READ),
    Page("ledger", "/ledger", "Verify now", Permission.LEDGER_READ),
    Page("checkpoints", "/ledger/checkpoints", "That one extends another", Permission.LEDGER_READ),
    Page("entry", "/ledger/1", "model.spec by a.lindqvist", Permission.LEDGER_READ),
    Page("search", "/search?q=support", "support-intents"),
    Page("search-nothing", "/search?q=nowhere", "Nothing was found"),
    Page("settings", "/settings", "What is set where"),
    Page("policies", "/settings/policies", "support-intents"),
    Page("channels", "/channels", "Channels"),
    Page("people", "/people", "People and keys", Permission.ACCESS_READ),
    Page("unknown", "/nothing/here", "Not found", status=404),
)  # fmt: skip


def places(site: Site, story: Story) -> Mapping[str, object]:
    """What stands for the placeholders of the paths."""
    with site.database.read() as db:
        window = db.query(Window).filter(Window.model_id == story.model_id, Window.verdict == "alarm").first()
        assert window is not None
        dataset = db.query(Dataset).filter(Dataset.model_id == story.model_id, Dataset.role == "train").one().id
        report = db.query(Report).filter(Report.model_id == story.model_id).one().id
        incident = db.get_one(Alert, story.alert_id).incident_id
        return {
            "dataset": dataset, "alert": story.alert_id, "incident": incident, "run": story.run_id, "window": window.id,
            "report": report,
        }  # fmt: skip


def also(site: Site, story: Story) -> None:
    """What pages show beside the story: a report, a schedule, and three events of one trace."""
    with site.database.write() as db:
        service.request(site, db, "support-intents", "audit", story.start, story.end, [], "a.lindqvist")
        wanted = schedules.Wanted(every="quarter", model="support-intents", zone="Europe/Berlin", regimes=["eu-ai-act"])
        schedules.declare(site, db, wanted, "a.lindqvist")
    at = story.start + timedelta(hours=1)
    rows = pl.DataFrame({
        "event_id": ["asked-1", "asked-2", "asked-3"], "ts": [at + timedelta(milliseconds=30 * i) for i in range(3)],
        "version": ["v1"] * 3, "trace_id": [TRACE] * 3, "span_id": [f"{i:016x}" for i in (1, 2, 3)],
        "text": ["my card is lost", "is my card blocked <now>?", "=card()"], "channel": ["web", "app", None],
        "intent": ["card lost"] * 3, "confidence": [0.9, 0.8, 0.2], "age_band": ["18-29", "30+", "30+"],
        "customer": ["c1", "c2", "c3"],
    }, schema_overrides={"ts": pl.Datetime("us", "UTC")})  # fmt: skip
    site.events.append_events(parse_spec(SPEC), rows, now=site.clock.now())


ROLES = tuple(role for role in Role if role is not Role.PRODUCER)  # a producer reads no page
