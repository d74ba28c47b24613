"""A period against the one before: both values, the difference with its interval, every figure held in the bundle."""

import io
import json
import math
import re
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from core.canonical import canonical
from core.clock import ManualClock
from governance.verify.bundle import verify_bundle_bytes
from governance.verify.manifest import ENTRIES
from governance.verify.printed import hold_printed
from monitor.site import Site
from reports import document as doc
from reports import service
from reports.facts.changes import mean_of, mover
from tests.databases import SQLITE_ONLY
from tests.reports.story import tell
from tests.reports.story_teller import END, START

WEEK = timedelta(days=7)


def test_a_mean_over_windows_is_weighted_by_rows_and_its_interval_narrows_with_them() -> None:
    assert mean_of([]) == (None, None, None)
    assert mean_of([(0.5, None, None, 10), (1.0, 0.9, 1.0, 30)]) == (0.875, None, None)
    value, low, high = mean_of([(0.8, 0.7, 0.9, 100)] * 4)
    assert value == pytest.approx(0.8)
    assert (low, high) == pytest.approx((0.75, 0.85))  # of four equal ones, half as wide


def side(value: float, low: float | None, high: float | None) -> doc.ChangeSide:
    return doc.ChangeSide(value=value, low=low, high=high, n=10, windows=1, limit=None)


def test_the_interval_of_a_difference_is_that_of_zou_and_donner() -> None:
    """Two shares, 56 of 70 and 48 of 80, with Wilson's intervals: the hybrid score interval of Newcombe (1998)."""
    low, high = mover(side(0.8, 0.6924, 0.8762), side(0.6, 0.4904, 0.7005), 0.2)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-4)
    assert mover(side(0.8, None, None), side(0.6, 0.5, 0.7), 0.2) == (None, None)


FORGED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "value": (lambda c: line(c, "accuracy")["now"].update(value=0.99), "now: report.line; expected value 0.8"),
    "window": (
        lambda c: line(c, "accuracy")["before"]["values"][0].update(value=0.5), "before window .*: report.line"
    ),
    "omitted": (lambda c: line(c, "accuracy")["now"]["values"].pop(), "expected the value of window"),
    "difference": (lambda c: line(c, "accuracy").update(difference=0.0), "report.line; expected difference -0.0"),
    "interval": (lambda c: line(c, "accuracy").update(high=0.5), "report.line; expected high -0.0"),
    "volume": (lambda c: c["windows"][0].update(rows=9), r"windows\[0\]: report.line; expected rows 500"),
    "alerts": (lambda c: next(x for x in c["lines"] if x["kind"] == "alerts")["now"].update(value=0), "value 2"),
    "fairness": (
        lambda c: line(c, "equalized_odds_difference")["before"].update(value=0.0),
        "before: report.line; expected value",
    ),
    "group": (lambda c: c["fair_before"]["groups"][0].update(n=1), "groups.0.*: report.line; expected n"),
    "period": (lambda c: c.update(end="2026-03-01T00:00:00Z"), "expected end 2026-03-09"),
}  # fmt: skip


def line(changes: dict[str, Any], metric: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in changes["lines"] if one["metric"] == metric)
    return found


@SQLITE_ONLY
def test_every_figure_of_a_comparison_is_computed_again_from_the_bundle(site: Site, clock: ManualClock) -> None:
    clock.move_to(END + timedelta(days=1))
    with site.database.write() as db:
        tell(site, db)
    with site.database.write() as db:
        row = service.request(site, db, "support-intents", "audit", START + WEEK, START + 2 * WEEK, [], "ann")
    data = site.artifacts.get((service.build(site, row.id).files or {})["zip"])
    assert verify_bundle_bytes(data, [site.keys.vkey]).findings == ()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    report = json.loads(files["report.json"])
    changes = report["changes"]
    assert (changes["words"], changes["scale"]) == ("2026-03-02 to 2026-03-08, UTC", "500 rows")
    accuracy = line(changes, "accuracy")
    assert accuracy["now"]["value"] < 0.85 < accuracy["before"]["value"]
    assert accuracy["low"] < accuracy["difference"] < accuracy["high"] < 0
    assert math.isclose(accuracy["difference"], accuracy["now"]["value"] - accuracy["before"]["value"])
    told = {one["kind"]: (one["now"]["value"], one["before"]["value"]) for one in changes["lines"]}
    assert (told["volume"], told["alerts"], told["runs"]) == ((7000, 7000), (2, 0), (1, 0))
    first = report["windows"][0]  # a window that ends as the period begins belongs to the period before, alone
    assert (report["front"]["rows"], first["end"] > report["period"]["start"]) == (7000, True)
    for name, (forge, words) in FORGED.items():
        forged = json.loads(files["report.json"])
        forge(forged["changes"])
        found = hold_printed(json.loads(canonical(forged)), files, files[ENTRIES].splitlines()).findings
        assert any(re.search(words, str(one)) for one in found), (name, [str(f) for f in found])
