"""A later spec never rewrites a verdict: windows judged again under it stand beside, and raise no alarm."""

from collections.abc import Sequence
from typing import Any

from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import Alert, LaterVerdict, Measurement, Window
from monitor.windows.evaluate import evaluate
from retrain.store import judged
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, outcomes_body, rows, spec

pytestmark = SQLITE_FIRST
STRICT, MILD = [{"metric": "accuracy", "min": 0.8}], [{"metric": "accuracy", "min": 0.1}]


def declare(site: Site, **changes: Any) -> service.Applied:
    watched = document()["monitors"] | {"fairness": []}
    with site.database.write() as db:
        return service.apply_spec(site, db, spec(monitors=watched | changes), "tester")


def send(site: Site, start: int, count: int, *, outcomes: bool = True, **how: Any) -> None:
    frame = rows(count, start=start, **how)
    receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    if outcomes:
        receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON))
    evaluate(site, "loans")


def late_outcomes(site: Site, start: int, count: int, **how: Any) -> None:
    receive(site, "loans", "outcomes", Body(outcomes_body(rows(count, start=start, **how)), NDJSON))
    evaluate(site, "loans")


def windows(site: Site) -> Sequence[Window]:
    with site.database.read() as db:
        return store.windows(db, store.model(db, "loans").id)


def later(site: Site) -> dict[int, list[LaterVerdict]]:
    """The later verdicts, by number of their window."""
    numbers = {window.id: window.number for window in windows(site)}
    with site.database.read() as db:
        found = store.later_verdicts(db, list(numbers))
    return {numbers[window]: verdicts for window, verdicts in found.items()}


def accuracy(site: Site, window: Window) -> Measurement:
    with site.database.read() as db:
        return next(m for m in store.window_measurements(db, window.id) if m.metric == "accuracy" and not m.segment)


def kpi_alerts(site: Site) -> list[Alert]:
    with site.database.read() as db:
        return [a for a in store.alerts(db, store.model(db, "loans").id) if a.monitor == "kpi"]


def test_late_outcomes_are_judged_by_the_limits_in_force_when_the_window_closed(site: Site) -> None:
    declare(site, kpi=MILD)
    send(site, 0, 1000)
    send(site, 1000, 250, outcomes=False)
    declare(site, kpi=STRICT)
    late_outcomes(site, 1000, 250, right=0.9)  # other answers than those given: accuracy is about a half
    closed = windows(site)[-1]
    measured = accuracy(site, closed)
    assert (measured.limit, measured.alarm, closed.spec_revision) == (0.1, False, 1)
    assert not kpi_alerts(site)


def test_a_looser_limit_takes_back_nothing_that_was_announced(site: Site) -> None:
    declare(site, kpi=STRICT)
    send(site, 0, 1000)
    send(site, 1000, 250, right=0.4)
    (alert,) = kpi_alerts(site)
    before = windows(site)[-1]
    assert before.verdict == "alarm"
    assert declare(site, kpi=MILD).judged_again == 5
    late_outcomes(site, 1200, 50, right=0.4)
    after = windows(site)[-1]
    assert (after.verdict, after.spec_revision, accuracy(site, after).limit) == ("alarm", 1, 0.8)
    (still,) = kpi_alerts(site)
    assert (still.id, still.withdrawn_at, still.windows) == (alert.id, None, 1)


def test_windows_judged_again_stand_beside_with_their_revision_and_raise_no_alarm(site: Site) -> None:
    declare(site, kpi=MILD)
    send(site, 0, 1000)
    send(site, 1000, 500, right=0.5)
    assert not kpi_alerts(site)
    given = [(w.verdict, w.sentence, w.spec_revision) for w in windows(site)]
    measured = [accuracy(site, w).limit for w in windows(site)]
    assert declare(site, kpi=STRICT).judged_again == 6
    evaluate(site, "loans")
    assert [(w.verdict, w.sentence, w.spec_revision) for w in windows(site)] == given
    assert [accuracy(site, w).limit for w in windows(site)] == measured
    found = later(site)
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert {v.spec_revision for verdicts in found.values() for v in verdicts} == {2}
    (verdict,) = found[5]
    assert verdict.verdict == "alarm"
    kept = next(r for r in verdict.readings if r["metric"] == "accuracy")
    assert (kept["limit"], kept["alarm"]) == (0.8, True)
    assert not kpi_alerts(site)
    with site.database.read() as db:  # no other reader sees them
        assert {w.number for w in judged(db, store.model(db, "loans").id).newest} == {5}
        assert len(store.measurements(db, store.model(db, "loans").id, metric="accuracy", segments=("",))) == 6


def test_each_revision_has_its_own_verdict_and_late_outcomes_bring_it_up_to_date(site: Site) -> None:
    declare(site, kpi=MILD)
    send(site, 0, 1000)
    send(site, 1000, 250, outcomes=False)
    declare(site, kpi=STRICT)
    evaluate(site, "loans")
    (verdict,) = later(site)[4]
    assert next(r for r in verdict.readings if r["metric"] == "accuracy")["value"] is None
    late_outcomes(site, 1000, 250)
    (verdict,) = later(site)[4]
    assert next(r for r in verdict.readings if r["metric"] == "accuracy")["value"] is not None
    declare(site, kpi=[{"metric": "accuracy", "min": 0.2}])
    evaluate(site, "loans")
    assert [v.spec_revision for v in later(site)[4]] == [2, 3]
    evaluate(site, "loans")
    assert [v.spec_revision for v in later(site)[4]] == [2, 3]


def test_a_change_that_judges_nothing_otherwise_and_a_new_reference_judge_nothing_again(site: Site) -> None:
    declare(site, kpi=MILD)
    send(site, 0, 1250)
    with site.database.write() as db:
        watched = document()["monitors"] | {"fairness": [], "kpi": MILD}
        assert service.apply_spec(site, db, spec(monitors=watched, owner="other@example.com"), "t").judged_again == 0
    evaluate(site, "loans")
    assert not later(site)
    assert declare(site, kpi=MILD, windows={"rows": 200}).judged_again == 0
    evaluate(site, "loans")
    assert not later(site)
