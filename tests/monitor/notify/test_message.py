"""What a message says: one plain sentence first, then what to do."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from monitor.notify.announcement import Announcement
from monitor.notify.message import Message, compose
from monitor.notify.wording import headline

NOW = datetime(2026, 11, 14, 8, tzinfo=UTC)
NEW = (
    "Drift: `text`: new kind of request (mean distance to the nearest known ones from 0.31 to 0.62); `channel`: 'app': "
    "from 20.0 % to 40.0 % of rows."
)


def item(**changes: object) -> Announcement:
    facts: dict[str, object] = {
        "thread": "incident:1", "occasion": "opened", "severity": "critical", "at": NOW, "sentence": NEW,
        "model": "support-intents", "owner": "ml@example.com", "monitor": "drift", "metric": "p_value",
        "since": NOW - timedelta(days=1, hours=8), "alert_id": uuid4(),
    }  # fmt: skip
    return Announcement.model_validate(facts | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"consequence": "accuracy is estimated at 0.7, limit 0.85"},
            "Since 13 Nov people ask about things support-intents never saw; accuracy is estimated at 0.7, limit 0.85",
        ),
        (
            {"sentence": "Drift: `intent`: 'lost': from 6 % to 30 %; `text`: new kind of request (x); and 1 more."},
            "Since 13 Nov people ask about things support-intents never saw.",
        ),
        (
            {"sentence": "Drift: `text`: new kind of request (mean distance from 0.2 to 0.4, +1.2 std, large)."},
            "Since 13 Nov people ask about things support-intents never saw, a large change.",
        ),
        (
            {"sentence": "Drift: `amount`: mean from 93.1 to 3.1 EUR, -0.9 std, large."},
            "Since 13 Nov `amount` of support-intents changed: mean from 93.1 to 3.1 EUR, -0.9 std, large.",
        ),
        (
            {"sentence": "Drift: `amount`: mean from 93.1 to 3.1."},
            "Since 13 Nov `amount` of support-intents changed: mean from 93.1 to 3.1.",
        ),
        (
            {"sentence": "Drift: `a`: mean from 1 to 2; `b`: mean from 3 to 4; and 2 more columns."},
            "Since 13 Nov `a` of support-intents changed: mean from 1 to 2.",
        ),
        (
            {"sentence": "Drift spread over many columns, most in `a`: mean from 1 to 2 (p 0.001)."},
            "Since 13 Nov support-intents: drift spread over many columns, most in `a`: mean from 1 to 2.",
        ),
        (
            {"monitor": "kpi", "sentence": "accuracy is 0.702 (0.650-0.750, n = 300), beyond its limit 0.85."},
            "Since 13 Nov support-intents: accuracy is 0.702, beyond its limit 0.85.",
        ),
        (
            {"model": None, "monitor": "system", "sentence": "Channel ops does not deliver."},
            "Since 13 Nov channel ops does not deliver.",
        ),
        ({"since": NOW - timedelta(hours=3), "sentence": "Drift: `a`: x."}, "Since 14 Nov 05:00 UTC `a` of "),
        ({"since": NOW - timedelta(days=400), "sentence": "Drift: `a`: x."}, "Since 10 Oct 2025 `a` of "),
        ({"occasion": "resolved"}, "Resolved: people ask about things support-intents never saw; it began 13 Nov."),
        ({"occasion": "withdrawn"}, "Withdrawn, as late rows or outcomes took the alarm back: people ask "),
    ],
)  # fmt: skip
def test_the_first_sentence_is_plain(changes: dict[str, object], sentence: str) -> None:
    assert headline(item(**changes)).startswith(sentence)


def composed(
    *items: Announcement, follows: bool = False, thread: str = "incident:1", base: str | None = None
) -> Message:
    return compose(uuid4(), thread, items, follows=follows, base_url=base)


def test_a_message_says_the_numbers_the_next_step_and_the_links() -> None:
    one = item(context=("version v2 was deployed 2 h before",), runbook="https://wiki.example.com/x")
    lines = composed(one, base="https://assay.example.com").text.splitlines()
    assert lines[0] == "Since 13 Nov people ask about things support-intents never saw."
    assert lines[2] == "support-intents, severity critical: drift alert opened. Owner ml@example.com."
    assert lines[3].startswith("Drift: text: new kind of request (mean distance")
    assert lines[4] == "Version v2 was deployed 2 h before."
    assert lines[5].startswith("What to do next: Look at what changed")
    assert "a false alarm, resolve the alert: until then no later row enters an automatic reference" in lines[5]
    assert f"Alert: https://assay.example.com/alerts/{one.alert_id}" in lines
    assert "Runbook: https://wiki.example.com/x" in lines


def test_alerts_of_the_installation_that_say_what_to_do_are_not_sent_to_the_log() -> None:
    about = {"model": None, "monitor": "system", "sentence": "Key 12 was changed."}
    metrics = ("changed_rights", "damaged_log", "failed_jobs")
    said = {metric: composed(item(metric=metric, **about)).text for metric in metrics}
    assert "What to do next: Find out who wrote to the database, and revoke the key" in said["changed_rights"]
    assert "What to do next: Send again what was sent then" in said["damaged_log"]
    assert "What to do next: Look at the log of the service" in said["failed_jobs"]


def test_without_an_address_of_the_pages_there_is_no_link() -> None:
    assert "http" not in composed(item()).text + composed(item()).html


def test_the_worst_leads_and_the_others_follow() -> None:
    kpi = item(severity="warning", monitor="kpi", sentence="accuracy is 0.80, beyond its limit 0.85.")
    message = composed(kpi, item(), follows=True)
    assert message.title.startswith("Follow-up: support-intents, critical: Since 13 Nov people ask")
    assert "- 14 Nov 2026 08:00 UTC, warning: Since 13 Nov support-intents: accuracy is 0.80" in message.text


def test_of_equal_severity_what_says_most_to_a_reader_leads() -> None:
    concept = item(
        monitor="concept", sentence="Errors rose: the mean error is 0.6 (Page-Hinkley, at label 863).", at=NOW
    )
    assert composed(item(), concept).text.startswith("Since 13 Nov people ask about things")
    lines = composed(concept).text.splitlines()
    assert lines[0] == "Since 13 Nov support-intents: errors rose: the mean error is 0.6."
    assert lines[3] == "Errors rose: the mean error is 0.6 (Page-Hinkley, at label 863)."


def test_a_thousand_alerts_of_one_incident_are_still_a_message_that_can_be_read() -> None:
    message = composed(*(item(metric=str(i)) for i in range(1000)))
    assert len(message.text) < 10_000
    assert "And 980 more." in message.text
    assert len(message.title) <= 180


def test_what_a_row_said_cannot_become_part_of_the_page() -> None:
    message = composed(item(sentence="Drift: `plan`: '<img src=x onerror=alert(1)>': from 1 % to 9 % of rows."))
    assert "<img" not in message.html
    assert "&lt;img" in message.html


@pytest.mark.parametrize(
    ("items", "thread", "kind"),
    [
        ([item()], "incident:1", "assay.incident.opened"),
        ([item(occasion="worse")], "incident:1", "assay.incident.updated"),
        ([item(), item(occasion="resolved")], "incident:1", "assay.incident.resolved"),
        ([item(model=None)], "incident:1", "assay.installation"),
        ([item(), item(model="other")], "digest", "assay.digest"),
        ([item(occasion="test")], "test:ops", "assay.test"),
    ],
)
def test_the_kind_of_an_event(items: list[Announcement], thread: str, kind: str) -> None:
    assert composed(*items, thread=thread).kind == kind
