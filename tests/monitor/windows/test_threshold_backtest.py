"""A changed spec against stored measurements: what would have alarmed, and what cannot be told."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from core.clock import ManualClock
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.windows.rejudged import Backtest, Line
from monitor.windows.threshold_backtest import backtest
from tests.databases import SQLITE_FIRST
from tests.reports.story import tell
from tests.reports.story_teller import SPEC

pytestmark = SQLITE_FIRST


@pytest.fixture
def judged(site: Site, clock: ManualClock) -> Callable[..., Backtest]:
    """Judges the story again under its spec with some of `monitors` exchanged."""
    with site.database.write() as db:
        model = tell(site, db).model_id

    def again(**monitors: Any) -> Backtest:
        document = deepcopy(SPEC)
        document["monitors"] |= monitors
        with site.database.read() as db:
            return backtest(db, model, parse_spec(SPEC), parse_spec(document))

    return again


def line(found: Backtest, monitor: str, metric: str) -> Line:
    return next(one for one in found.lines if (one.monitor, one.metric) == (monitor, metric))


def test_the_same_spec_says_what_was_recorded(judged: Callable[..., Backtest]) -> None:
    found = judged()
    assert (found.windows, found.changed, found.cannot, found.moved) == (34, [], [], [])
    accuracy = line(found, "kpi", "accuracy")
    assert accuracy.did == accuracy.would > 0


def test_a_limit_is_held_against_the_stored_interval(judged: Callable[..., Backtest]) -> None:
    """0.95 lies above every value; only where its interval, stretched to alpha 0.0005, excludes it is it an alarm."""
    stricter = line(judged(kpi=[{"metric": "accuracy", "min": 0.95}, {"metric": "f1_macro"}]), "kpi", "accuracy")
    assert stricter.did < stricter.would < stricter.windows
    looser = line(judged(kpi=[{"metric": "accuracy", "min": 0.5}, {"metric": "f1_macro"}]), "kpi", "accuracy")
    assert (looser.would, looser.fewer) == (0, looser.did)
    assert (looser.before, looser.after) == ("min 0.85", "min 0.5")


def test_drift_is_held_against_another_budget_and_other_floors(judged: Callable[..., Backtest]) -> None:
    """The drifted windows have p 0.001 and two columns of adjusted p 0.001: 0.31 std, and 0.183 of rows."""
    rare = line(judged(false_alarms={"alpha": 0.0001}), "drift", "p_value")
    assert (rare.did, rare.would, rare.fewer) == (7, 0, 7)
    one_left = line(judged(drift={"floors": {"confidence": "0.5 std"}}), "drift", "p_value")
    assert (one_left.did, one_left.would) == (7, 7)
    found = judged(drift={"floors": {"confidence": "0.5 std", "text": "0.9 std"}})
    neither = line(found, "drift", "p_value")
    assert (neither.would, neither.unknown) == (0, 7)
    assert "not in the unit of its floor" in str(found.changed[0].why)


def test_what_stored_numbers_cannot_say_is_said(judged: Callable[..., Backtest]) -> None:
    other = [{"metric": "equalized_odds_difference", "by": ["age_band"], "max": 0.12, "min_group": 200}]
    found = judged(fairness=other, windows={"rows": 1000}, kpi=[{"metric": "balanced_accuracy", "min": 0.8}])
    said = " ".join(found.cannot)
    assert "compare other groups or another class" in said
    assert "`balanced_accuracy` was not measured before" in said
    assert "Windows of another length are not stored" in said
    assert not [one for one in found.lines if one.monitor in ("fairness", "drift")]
