"""What `assay apply` says before anything is stored."""

from typing import Any

import pytest

from monitor.spec.forecast import RATES, forecast, forecasts
from monitor.spec.parse import parse_spec
from tests.monitor.traffic import document


def auto(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in document().items() if k not in ("baseline", "monitors")} | changes


@pytest.mark.parametrize(
    ("rate", "windows", "latest"), [(200, ("1d",), 6 * 86_400), (2_000, ("3h",), 86_400), (48_000, ("10m",), 7_200)]
)
def test_the_first_verdict_of_auto_is_told(rate: float, windows: tuple[str, ...], latest: float) -> None:
    found = forecast(parse_spec(auto()), rows_per_day=rate)
    assert (found.windows, found.rule) == (windows, "early")
    assert found.first_verdict_s is not None
    assert found.first_verdict_s <= latest
    assert found.reference_rows <= 1_075
    assert found.visible_share is not None
    assert "takes rows as independent" in found.sentence
    assert "points" in found.sentence


def test_a_reference_that_is_too_short_for_its_windows_is_told_with_key_and_value() -> None:
    spec = parse_spec(auto(baseline={"rows": "first 5000"}, monitors={"windows": ["1d", "7d"]}))
    found = forecast(spec, rows_per_day=200.0)
    assert found.first_verdict_s is None
    assert "covers 25 days" in found.sentence
    assert "`baseline: {rows: first 11200}`" in found.change
    assert "`baseline: auto`" in found.change
    long_enough = forecast(
        parse_spec(auto(baseline={"rows": "first 11200"}, monitors={"windows": ["1d", "7d"]})), rows_per_day=200.0
    )
    assert long_enough.first_verdict_s is not None


def test_without_a_known_rate_several_are_told() -> None:
    assert [f.rows_per_day for f in forecasts(parse_spec(auto()), rows_per_day=None)] == list(RATES)


def test_windows_of_rows_are_told_too() -> None:
    spec = parse_spec(auto(monitors={"windows": {"rows": 500}, "false_alarms": {"alpha": 0.01}}))
    found = forecast(spec, rows_per_day=1_000.0)
    assert (found.windows, found.reference_rows, found.first_verdict_s) == (("500 rows",), 2_000, 2.5 * 86_400)


def test_a_reference_that_is_too_short_for_windows_of_rows_is_told_with_key_and_value() -> None:
    monitors = {"windows": {"rows": 500}, "false_alarms": {"alpha": 0.01}}
    spec = parse_spec(auto(baseline={"rows": "first 600"}, monitors=monitors))
    found = forecast(spec, rows_per_day=1_000.0)
    assert found.first_verdict_s is None
    assert "fewer than 1000 rows; write `baseline: {rows: first 2000}`" in found.sentence
