"""Metrics and columns that a spec names: they exist, fit, and are told by the key that names them."""

from typing import Any

import pytest

from monitor.metric_names import check_metrics
from monitor.spec.parse import SpecError
from tests.monitor import traffic

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"kpi": [{"metric": "acuracy"}]}, "monitors.kpi[0].metric", "did you mean accuracy?"),
    ({"kpi": [{"metric": "accuracy"}, {"metric": "mae"}]}, "monitors.kpi[1].metric", "not known for task"),
    ({"fairness": [{"metric": "equal_odds", "by": ["age_band"]}]}, "monitors.fairness[0].metric", "known: "),
    ({"drift": {"columns": ["amount", "customer"]}}, "monitors.drift.columns[1]", "role subject, which is not watched"),
    ({"drift": {"columns": ["truth"]}}, "monitors.drift.columns[0]", "role outcome, which is not watched"),
    ({"drift": {"columns": []}, "kpi": [], "fairness": []}, "monitors.drift.columns", "name a column to watch"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "words"), REFUSED, ids=[c[1] + c[2][:10] for c in REFUSED])
def test_a_name_that_cannot_be_watched_or_measured_is_told_by_its_key(
    change: dict[str, Any], field: str, words: str
) -> None:
    monitors = traffic.document()["monitors"]
    with pytest.raises(SpecError) as refused:
        check_metrics(traffic.spec(monitors=monitors | change))
    told = {problem["field"]: problem["reason"] for problem in refused.value.facts["problems"]}
    assert words in told[field]
    assert "None" not in refused.value.message


def test_kpis_alone_may_be_watched() -> None:
    check_metrics(traffic.spec(monitors=traffic.document()["monitors"] | {"drift": {"columns": []}}))
