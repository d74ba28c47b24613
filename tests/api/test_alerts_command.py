"""`assay alerts` as a user types it, against a running service."""

import json
from uuid import UUID

import pytest

from core.settings import Settings
from governance.ledger.keys import Keys
from monitor.alerts import by_clock
from monitor.alerts.headlines import Alarm
from monitor.site import Site, open_site
from tests.service import Service, assay


def opened(service: Service, what: str) -> UUID:
    """An alert about the installation, of a kind that the scheduler does not end within the hour."""
    site: Site = open_site(Settings(home=service.home))
    assert isinstance(site.keys, Keys)
    with site.database.write() as db:
        alarm = Alarm("system", "missed_ticks", what, 1.0, 0.0, f"Assay did no work: {what}.", "critical", (what,))
        found = by_clock.open_alert(site, db, None, alarm, site.clock.now(), {}).id
    site.close()
    return found


@pytest.fixture(scope="module")
def known(shared_service: Service) -> dict[str, str]:
    return {"ASSAY_CLIENT__URL": shared_service.url, "ASSAY_CLIENT__KEY": shared_service.admin_key}


def said(known: dict[str, str], *arguments: str) -> str:
    done = assay("alerts", *arguments, environ=known)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_alert_is_listed_acknowledged_assigned_commented_snoozed_and_resolved(
    shared_service: Service, known: dict[str, str]
) -> None:
    alert = opened(shared_service, "one night")
    short = str(alert)[:8]
    assert "the installation: system\n    Assay did no work: one night.\n" in said(known)
    (listed,) = [a for a in json.loads(said(known, "--json")) if a["id"] == str(alert)]
    assert (listed["model"], listed["severity"], listed["state"]) == (None, "critical", "open")
    assert said(known, "acknowledge", short, "--note", "on it") == f"{alert} is acknowledged\n"
    assert "is assigned to ben" in said(known, "assign", short, "ben")
    said(known, "comment", short, "waits for a new disk")
    assert "is snoozed until" in said(known, "snooze", short, "--for", "4h")
    shown = said(known, "show", short)
    for word in ("owner ben", "the installation", "Snoozed until", "waits for a new disk", "on it", "acknowledged"):
        assert word in shown
    listed = assay("incidents", "--json", environ=known)
    incident = json.loads(listed.stdout)[0]
    written = assay("incidents", "post-mortem", incident["id"][:8], "--cause", "a full disk", environ=known)
    assert "Version 1 is kept; its digest sha256:" in written.stdout
    assert "Cause: a full disk" in assay("incidents", "show", short, environ=known).stdout
    assert (incident["owner"], incident["state"]) == ("ben", "acknowledged")
    assert "no longer snoozed" in said(known, "snooze", incident["id"], "--end")
    assert said(known, "resolve", short) == f"{alert} is resolved\n"
    assert str(alert) not in said(known, "list", "--json")
    assert str(alert) in said(known, "list", "--state", "all", "--json")


def test_a_mute_is_made_listed_and_ended(known: dict[str, str]) -> None:
    assert said(known, "mutes") == "Nothing is muted.\n"
    made = json.loads(said(known, "mute", "--monitor", "system", "--reason", "moving", "--for", "2d", "--json"))
    assert "moving" in said(known, "mutes")
    assert said(known, "unmute", made["id"]) == f"{made['id']} is ended.\n"
    assert said(known, "mutes") == "Nothing is muted.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resolve", "ffffffff-none"), ("no alert or incident has an id", "ffffffff-none")),
        (("mute", "--reason", "x"), ("--for", "--until")),
        (("mute", "--reason", "x", "--for", "soon"), ("--for", "'soon' is not a duration")),
        (("mute", "--reason", "x", "--for", "1d", "--monitor", "weather"), ("monitor", "weather")),
    ],
)
def test_what_cannot_be_names_the_value_and_the_fix(
    known: dict[str, str], arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = assay("alerts", *arguments, environ=known)
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
