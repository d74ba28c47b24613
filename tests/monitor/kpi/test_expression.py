"""KPIs written as expressions: what they compute, their intervals, and what is refused where."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.kpi.expression import AGGREGATES, FUNCTIONS, ExpressionError, parse
from monitor.metric_names import check_metrics
from monitor.spec.parse import SpecError
from monitor.windows.limits import judged
from monitor.windows.readings import kpi_readings
from tests.examples import examples
from tests.monitor.traffic import document, spec

TYPES = {
    "cost": "number", "ms": "number", "resolved": "category", "failed": "boolean", "note": "text",
    "two words": "number",
}  # fmt: skip
FRAME = pl.DataFrame(
    {
        "cost": [1.0, 2.0, None, 5.0], "ms": [10.0, 20.0, 30.0, 40.0], "resolved": ["yes", "no", "yes", None],
        "failed": [True, False, None, False], "note": ["a", "b", "c", "d"], "two words": [1.0, 1.0, 1.0, 3.0],
    }
)  # fmt: skip

BY_HAND = {
    "sum(cost) / count(resolved == 'yes')": 4.0,
    "mean(cost)": 8.0 / 3.0,
    "min(ms) + max(ms) * 2": 90.0,
    "median(ms)": 25.0,
    "quantile(ms, 0.9)": float(np.quantile([10, 20, 30, 40], 0.9)),
    "share(resolved == 'yes')": 2.0 / 3.0,
    "share(failed)": 1.0 / 3.0,
    "count()": 4.0,
    "count(cost)": 3.0,
    "count(not failed)": 2.0,
    "count(ms > 10 and resolved == 'yes')": 1.0,
    "count(ms <= 10 or resolved != 'yes')": 2.0,
    "sum(if(resolved == 'yes', ms, 0))": 40.0,
    "if(mean(ms) > 20, 1, 0)": 1.0,
    "abs(-mean(ms))": 25.0,
    "log(exp(mean(cost)))": 8.0 / 3.0,
    "round(mean(cost))": 3.0,
    "sum(failed)": 1.0,
    "mean(column('two words'))": 1.5,
    "count(note == 'if (x')": 0.0,
    "mean(abs(ms - 25))": 10.0,
}


@pytest.mark.parametrize(("text", "expected"), BY_HAND.items(), ids=list(BY_HAND))
def test_an_expression_says_what_a_person_would_work_out(text: str, expected: float) -> None:
    found = parse(text, TYPES).compute(FRAME)
    assert found.value == pytest.approx(expected)
    assert found.n == 4


def test_every_function_is_tried_by_hand() -> None:
    for name in [*AGGREGATES, *FUNCTIONS, "count", "quantile", "if", "column"]:
        assert any(f"{name}(" in text for text in BY_HAND), name


REFUSED = {
    "__import__('os').system('x')": (1, "not allowed"),
    "open('x')": (1, "no function 'open'"),
    "mean(cost.real)": (6, "not allowed"),
    "mean([x for x in cost])": (6, "not allowed"),
    "(lambda: 1)()": (1, "not allowed"),
    "mean(price)": (6, "no column 'price'"),
    "mean(cost) / ms": (1, "mixes a value of one row"),
    "cost": (1, "aggregate it over all rows"),
    "1 + 1": (1, "aggregate it over all rows"),
    "mean(mean(cost))": (6, "a value of all rows"),
    "mean(resolved)": (6, "this must be a number, but it is a text"),
    "count(ms == 'ten')": (7, "compared with"),
    "count(resolved > 'a')": (7, "no order"),
    "count(1 < ms < 20)": (7, "not allowed"),
    "quantile(ms, 95)": (14, "0 to 1"),
    "mean(cost": (5, "not an expression"),
    "": (1, "not an expression"),
    "mean(cost) = 1": (12, "not an expression"),
    "mean(cost) > 1": (1, "the result is a boolean"),
    "mean(cost, ms)": (1, "does not accept 2"),
    "mean(cost ** 99999)": (6, "not allowed"),
    "if(share(failed) > 0, 'a', 1)": (1, "both must be of one kind"),
    "-" * 200 + "mean(cost)": (None, "nested deeper"),
    "1+" * 300 + "1": (500, "longer than 500"),
    "mean(1e999)": (6, "not allowed"),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=[t[:30] for t in REFUSED])
def test_what_is_not_in_the_language_is_refused_with_its_place(text: str, expected: tuple[int | None, str]) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text, TYPES)
    assert expected[1] in caught.value.message
    if expected[0] is not None:
        assert f"at character {expected[0]}:" in caught.value.message


@given(st.text(alphabet="abs(mean)cost,+-*/'<>=. 0123456789[]{}if and not lambda:", max_size=40))
@settings(max_examples=examples(300))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        parse(text, TYPES)
    except ExpressionError:
        return


@pytest.mark.parametrize("text", ["sum(cost) / count(ms > 100)", "log(min(ms) - 10)", "mean(cost) / (sum(ms) - 100)"])
def test_what_has_no_finite_value_is_undefined_with_a_reason(text: str) -> None:
    found = parse(text, TYPES).compute(FRAME)
    assert found.value is None
    assert "no finite value" in (found.reason or "")
    empty = parse(text, TYPES).compute(FRAME.clear())
    assert (empty.value, empty.reason) == (None, "no rows")


def test_the_sum_of_nothing_is_undefined_not_zero() -> None:
    assert parse("sum(cost)", TYPES).compute(FRAME.with_columns(cost=pl.lit(None, pl.Float64))).value is None


@pytest.mark.parametrize("text", ["mean(cost)", "sum(cost) / count(resolved == 'yes')", "quantile(cost, 0.9)"])
def test_the_interval_holds_the_true_value_about_as_often_as_it_says(text: str) -> None:
    random = np.random.default_rng(0)

    def draw(rows: int) -> pl.DataFrame:
        cost = random.gamma(3.0, 1.0, rows)
        return pl.DataFrame({"cost": cost, "resolved": np.where(random.random(rows) < 0.4, "yes", "no")})

    expression = parse(text, TYPES)
    truth = expression.compute(draw(400_000)).value
    assert truth is not None
    results = [expression.compute(draw(400)) for _ in range(100)]
    held = [r.low <= truth <= r.high for r in results if r.low is not None and r.high is not None]
    assert np.mean(held) >= 0.95 - 3.5 * math.sqrt(0.95 * 0.05 / 100)


def with_kpi(**rule: Any) -> dict[str, Any]:
    monitors: dict[str, Any] = document()["monitors"]
    return monitors | {"kpi": [{"metric": "yes_share", **rule}]}


def test_a_spec_names_a_kpi_of_its_own_which_waits_for_outcomes_only_where_it_reads_them() -> None:
    declared = spec(monitors=with_kpi(expression="share(decision == 'yes')", unit="share", max=0.1))
    check_metrics(declared)
    rows = pl.DataFrame({"decision": ["yes", "no"] * 50, "truth": ["yes"] * 100, "version": ["v1"] * 100})
    one = judged(kpi_readings(declared, rows.clear(), rows, declared.monitors.scales[0])[0], None)
    assert (one.value, one.unit, one.n, one.alarm) == (0.5, "share", 100, True)
    waiting = spec(monitors=with_kpi(expression="share(truth == 'yes')"))
    reading = kpi_readings(waiting, rows[:40], rows, waiting.monitors.scales[0])[0]
    assert (reading.value, reading.n, reading.details["coverage"]) == (1.0, 40, 0.4)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"expression": "mean(amout)"}, r"monitors.kpi\[0\].expression"),
        ({"expression": "count(customer == 'x')"}, "no column 'customer'"),  # a person's key is no number to report
        ({"metric": "accuracy", "expression": "mean(amount)"}, "give your own another name"),
        ({"column": "amount", "expression": "mean(amount)"}, "name the column inside it"),
        ({}, "a KPI of your own has an expression"),
        ({"metric": "accuracy", "unit": "USD"}, "belongs to a KPI with an expression"),
    ],
)
def test_a_spec_with_a_wrong_expression_is_refused_when_it_is_applied(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_metrics(spec(monitors=with_kpi(**rule)))


def test_texts_are_compared_in_composed_form() -> None:
    rows = pl.DataFrame({"note": ["cafe\u0301", "caf\u00e9", "cafe", "x²"]})
    for written in ("cafe\u0301", "caf\u00e9"):
        assert parse(f"count(note == '{written}')", TYPES).compute(rows).value == 2.0
    assert parse("count(note == 'x2')", TYPES).compute(rows).value == 0.0


@pytest.mark.parametrize(("text", "highest"), [
    ("share(failed)", 1.0), ("count(failed) / count()", 1.0), ("count(failed)", math.inf),
])  # fmt: skip
def test_the_ends_of_a_share_and_of_a_count_stay_in_their_range(text: str, highest: float) -> None:
    for failed in ([True] + [False] * 39, [False] + [True] * 39):
        found = parse(text, TYPES).compute(pl.DataFrame({"failed": failed}))
        assert found.bounds is not None
        for low, high in ((found.low, found.high), found.bounds(1e-6)):
            assert low is not None
            assert high is not None
            assert 0.0 <= low <= (found.value or 0.0) <= high <= highest
    assert (parse("mean(ms) - 25", TYPES).compute(FRAME).low or 0.0) < 0.0
