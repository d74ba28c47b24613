"""The first page: each event once, who approved, on which data, what people did, and what cannot be known yet."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from core.clock import ManualClock
from monitor.alerts import incidents
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Alert, Incident, ReferenceRow, Window
from reports import service
from reports.document import AuditReport, DeedLine, MeasureLine, RunLine, VerdictLine
from reports.facts.deeds import MOST, foremost
from reports.facts.gather import gather
from reports.wording.verdicts import reference_waits, verdict_lines
from reports.wording.volume import counted_once, length_lines, length_words
from tests.databases import SQLITE_FIRST
from tests.reports.story import Story, tell
from tests.reports.story_teller import END, SPEC, START

ADDRESS = "jane.doe@example.com"


def window(scale: str, rows: int, labels: int, **decision: Any) -> Window:
    judged = {"judged": True, "verdict": "no_evidence", "alpha": 0.01}
    return Window(scale=scale, rows=rows, labels=labels, verdict="ok", decision=judged | decision, number=0)


TWO_LENGTHS = [*(window("1d", 100, 90) for _ in range(7)), window("7d", 700, 630)]


def test_rows_are_counted_once_however_many_lengths_of_windows_saw_them() -> None:
    lines = length_lines(TWO_LENGTHS)
    assert counted_once(lines) == (700, 630)
    assert {line.scale: line.rows for line in lines} == {"1d": 700, "7d": 700}
    assert length_words(lines) == "1 window of 7d and 7 of 1d"
    assert "700 rows, each counted once" in answers(TWO_LENGTHS)["Was every window judged for drift?"].finding
    partly = [*TWO_LENGTHS, window("1d", 60, 50)]  # the newest day lies in no week yet
    assert counted_once(length_lines(partly)) == (760, 680)
    assert counted_once(length_lines([])) == (0, 0)


def answers(
    windows: Sequence[Window], kpi: Sequence[Any] = (), runs: Sequence[Any] = (), waiting: str | None = None
) -> dict[str, VerdictLine]:
    lines = verdict_lines(
        parse_spec(SPEC), windows, cast(Sequence[MeasureLine], kpi), (), (), cast(Sequence[RunLine], runs), waiting
    )
    return {line.question: line for line in lines}


def test_what_cannot_be_known_yet_is_not_said_to_fail() -> None:
    waiting = reference_waits([ReferenceRow(state="collecting", reason="model declared")])
    assert waiting is not None
    own = [window("500 rows", 500, 0, judged=False, verdict="collecting_reference")]
    found = answers(own, waiting=waiting)
    for question in ("Was every window judged for drift?", "Did inputs and answers stay as in the reference?"):
        assert found[question].answer == "not yet", question
        assert "still being collected" in found[question].finding
    assert reference_waits([ReferenceRow(state="ready", reason="x")]) is None
    assert answers([])["Was every window judged for drift?"].answer == "not measured"
    beside = [*own, window("500 rows", 500, 480)]
    line = answers(beside)["Was every window judged for drift?"]
    assert (line.answer, line.finding[:60]) == ("held", "1 of 1 windows judged for drift, 1 more belong to the refere")

    class Value:
        metric, segment, value, reason = "accuracy", "", None, "no outcome has arrived yet for any of the 500 rows"

    line = answers(own, kpi=[Value()])["Did accuracy stay inside its limit?"]
    assert (line.answer, "known once enough outcomes have arrived" in line.finding) == ("not yet", True)
    Value.reason = "no rows"
    assert answers(own, kpi=[Value()])["Did accuracy stay inside its limit?"].answer == "not measured"

    class UnderWay:
        state, gates = "awaiting_approval", ()

    line = answers([], runs=[UnderWay()])["Did every promotion pass its gates?"]
    assert (line.answer, "1 under way (awaiting approval)" in line.finding) == ("not yet", True)


def test_of_very_many_deeds_the_decisions_are_held() -> None:
    def deed(did: str, number: int) -> DeedLine:
        return DeedLine(
            did=did, about="x", who="ann", at=f"2026-03-01T00:00:{number % 60:02}+00:00", reason="", digest=None,
            entry=number,
        )  # fmt: skip

    lines = [deed("approved run", 0), *(deed("resolved", i) for i in range(1, 1000))]
    kept = foremost(lines)
    assert (len(kept), kept[0].did, kept[1].entry, kept[-1].entry) == (MOST, "approved run", 1000 - MOST + 1, 999)
    assert foremost(lines[:5]) == tuple(lines[:5])


@pytest.fixture
def story(site: Site, clock: ManualClock) -> Story:
    clock.move_to(END + timedelta(hours=3))
    with site.database.write() as db:
        return tell(site, db)


def report_of(site: Site, **period: Any) -> AuditReport:
    since, until = period.get("since", START), period.get("until", END)
    with site.database.write() as db:
        row = service.request(site, db, "support-intents", "audit", since, until, [], "ann")
    with site.database.read() as db:
        return gather(site, db, row)


@SQLITE_FIRST
def test_the_first_page_has_the_facts_that_answer_its_questions(site: Site, story: Story) -> None:
    with site.database.write() as db:
        alert = db.get_one(Alert, story.alert_id)
        alert.note = f"told {ADDRESS} about it"
        incident = db.get_one(Incident, alert.incident_id)
        incidents.note(db, incident, "commented", at=END, actor="j.park", text=f"asked {ADDRESS}")
    front = report_of(site).front
    assert front is not None
    assert (front.rows, front.lengths[0].windows) == (sum(w.rows for w in front.lengths), 34)
    (promotion,) = front.promotions
    assert (promotion.version, promotion.needed, promotion.run) == ("v2", 1, str(story.run_id))
    assert [(a.did, a.who, a.reason) for a in promotion.approved] == [("approved", "m.ortiz", "reviewed the gates")]
    assert promotion.asked.startswith("1 approval and an attestation")
    assert front.approval_words == "1 version was put into service; approved by m.ortiz."
    by_version = {line.version: line for line in front.trained}
    assert set(by_version) == {"v1", "v2"}
    assert [(s.role, s.rows, s.dropped) for s in by_version["v2"].sets] == [
        ("train", 4210, 212), ("eval", 842, 212), ("holdout", 2000, 212)
    ]  # fmt: skip
    assert by_version["v2"].base is not None
    assert by_version["v2"].base.reason == "nobody declared it"
    assert by_version["v1"].reason is not None
    assert {(d.did, d.who) for d in front.deeds} == {
        ("acknowledged", "j.park"), ("resolved", "j.park"), ("approved run", "m.ortiz"), ("commented on", "j.park"),
        ("changed the spec of", "a.lindqvist"),
    }  # fmt: skip
    assert all(ADDRESS not in (d.reason or "") for d in front.deeds)
    assert any((d.reason or "").startswith("told [email:") for d in front.deeds), [d.reason for d in front.deeds]
    assert all(d.entry is not None for d in front.deeds if d.did != "commented on")
    assert front.worst is not None
    assert (front.worst.metric, front.worst.n) == ("equalized_odds_difference", 16320)
    assert front.verify == f"assay verify BUNDLE.zip --key {site.keys.vkey}"


@SQLITE_FIRST
def test_where_no_approval_was_asked_for_it_says_exactly_that(site: Site, story: Story) -> None:
    before = report_of(site, since=START - timedelta(days=30), until=START - timedelta(hours=1)).front
    assert before is not None
    (first,) = before.promotions
    assert (first.version, first.needed, first.approved) == ("v1", 0, ())
    assert "no approval was asked for" in before.approval_words
    quiet = report_of(site, since=END - timedelta(hours=2), until=END + timedelta(hours=1)).front
    assert quiet is not None
    assert quiet.approval_words.startswith("Nothing was put into service in the period.")
