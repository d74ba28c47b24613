"""Which KPIs a floor of the envelope may name."""

import polars as pl
import pytest

from monitor.kpi import KPIS
from retrain.envelope import GATED, Plan, breaches
from tests.retrain.world import spec


@pytest.mark.parametrize("name", GATED)
def test_what_a_floor_may_name_is_measured_from_answers_and_truth_alone(name: str) -> None:
    held_out = pl.DataFrame({"prediction": ["a", "b", "a"], "outcome": ["a", "b", "b"]})
    assert KPIS[name].compute(held_out).value is not None
    floor = spec("./base", envelope={"kpi_floor": {name: 0.5}})
    assert breaches(Plan.of(floor)) == ()


@pytest.mark.parametrize("name", ["roc_auc", "latency_p95", "rmse", "acuracy"])
def test_a_floor_no_gate_can_measure_is_outside_the_envelope_before_a_run_starts(name: str) -> None:
    found = breaches(Plan.of(spec("./base", envelope={"kpi_floor": {name: 0.5}})))
    assert len(found) == 1
    assert f"kpi_floor names '{name}', which no gate can measure; choose from accuracy" in found[0]
