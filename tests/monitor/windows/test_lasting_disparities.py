"""A disparity that no window shows alone: found over windows, named, and with one error for all looks."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from monitor import service, store
from monitor.fairness.lasting import Compare, CountedWindows, Kind, lasting
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.tables import Measurement
from monitor.windows.evaluate import evaluate
from monitor.windows.lasting_disparities import LastingRule, of_windows
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, events_body, rows, spec

RULE = {"metric": "demographic_parity_difference", "by": ["age_band"], "max": 0.05}


def declare(site: Site, **rule: object) -> None:
    columns = document()["columns"]
    columns = columns | {"decision": columns["decision"] | {"positive": "yes"}}
    monitors = {"windows": {"rows": 200}, "false_alarms": {"alpha": 0.01}, "fairness": [RULE | rule]}
    with site.database.write() as db:
        service.apply_spec(site, db, spec(columns=columns, monitors=monitors, baseline={"rows": "first 400"}), "tester")


def send(site: Site, count: int, *, young: float, old: float, share_young: float = 0.5) -> Sequence[Measurement]:
    frame, random = rows(count), np.random.default_rng(3)
    band = np.where(random.random(count) < share_young, "18-29", "30+")
    yes = random.random(count) < np.where(band == "18-29", young, old)
    frame = frame.with_columns(age_band=pl.Series(band), decision=pl.Series(np.where(yes, "yes", "no")))
    receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    evaluate(site, "loans")
    with site.database.read() as db:
        found = store.measurements(
            db, store.model(db, "loans").id, metric="demographic_parity_difference", segments=("",)
        )
        return sorted(found, key=lambda m: m.to_ts)


@SQLITE_FIRST
def test_a_disparity_that_no_window_shows_alone_is_found_over_windows_and_names_the_groups(site: Site) -> None:
    declare(site)
    found = send(site, 4000, young=0.40, old=0.54)
    alarmed = [m for m in found if m.alarm]
    assert alarmed
    assert not any(m.alarm for m in found[:4])
    last = alarmed[-1]
    together = last.details["lasting"]
    assert last.details["judgement"]["by_windows"]
    assert together["between"] == ["18-29", "30+"]
    assert together["evidence"] >= together["needed"]
    assert together["error"] == pytest.approx(90 * 0.5 * 0.01 * 0.05)
    assert sum(together["n"]) == 200 * together["windows"]
    assert together["value"] == pytest.approx(0.14, abs=0.05)
    sentence = last.details["sentence"]
    assert "beyond its limit 0.05 over" in sentence
    assert "This window alone does not show it" in sentence


@SQLITE_FIRST
def test_a_disparity_within_its_limit_is_no_alarm_and_its_evidence_is_shown(site: Site) -> None:
    declare(site, max=0.2)
    found = send(site, 2000, young=0.45, old=0.50)
    assert not any(m.alarm for m in found)
    assert found[-1].details["lasting"]["evidence"] < found[-1].details["lasting"]["needed"]


@SQLITE_FIRST
def test_a_group_too_small_in_every_window_is_compared_once_its_windows_together_are_enough(site: Site) -> None:
    declare(site)
    found = send(site, 2000, young=0.1, old=0.7, share_young=0.08)  # 16 of 200 rows
    assert found[0].value is None
    alarmed = [m for m in found if m.alarm]
    assert alarmed
    assert alarmed[0].value == pytest.approx(0.6, abs=0.15)
    assert alarmed[0].n > 200
    assert min(alarmed[0].details["lasting"]["n"]) >= 30


CASES: list[tuple[Kind, Compare, bool, float, list[float]]] = [
    ("difference", "between", False, 0.1, [0.3, 0.4, 0.35]), ("ratio", "between", False, 0.8, [0.5, 0.4, 0.45]),
    ("difference", "reference", False, 0.1, [0.3, 0.4, 0.2]), ("ratio", "reference", False, 0.8, [0.4, 0.5, 0.32]),
    ("ratio", "best", True, 0.8, [0.5, 0.4]), ("ratio", "reference", True, 0.8, [0.5, 0.9, 0.4]),
    ("difference", "overall", False, 0.1, [0.5, 0.3]), ("ratio", "overall", False, 0.8, [0.45, 0.3]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "compare", "directed", "limit", "rates"), CASES)
def test_every_comparison_at_its_limit_alarms_as_seldom_as_stated_and_beyond_it_is_found(
    kind: Kind, compare: Compare, directed: bool, limit: float, rates: list[float]
) -> None:
    rng, error, runs = np.random.default_rng(8), 0.025, 40
    n = np.full((30, len(rates)), 100)
    reference = 0 if compare == "reference" else None

    def alarms(truth: list[float]) -> int:
        found = 0
        for _ in range(runs):
            counted = CountedWindows(rng.binomial(n, truth), n, np.ones(len(rates), dtype=bool))
            got = lasting([counted], kind, compare, limit, error, reference=reference, directed=directed)
            found += got.evidence.log_e >= np.log(1 / error)
        return found

    assert alarms(rates) <= binom.ppf(0.999, runs, error)
    worse = [0.9, *([0.45] * (len(rates) - 1))]
    assert alarms(worse) >= runs - 1


def test_a_reference_that_never_appears_and_one_group_alone_have_no_evidence() -> None:
    counted = CountedWindows(np.array([[5, 9]]), np.array([[10, 10]]), np.array([True, False]))
    assert lasting([counted], "difference", "between", 0.1, 0.025).pair is None
    assert lasting([counted], "difference", "reference", 0.1, 0.025, reference=1).pair is None


def test_windows_without_any_group_have_no_evidence() -> None:
    rule = LastingRule("equalized_odds_difference", ("true_positive_rate",), "between", None, 0.1, 0.025, 30)
    assert of_windows([[], []], rule) is None
