"""What a change of a spec loosens, key by key, and what it only tightens."""

from typing import Any

import pytest

from monitor.spec.loosening import loosenings
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec

SPEC: dict[str, Any] = {
    "model": "router", "task": "classification", "owner": "ml@example.com", "purpose": "route", "risk": "high",
    "columns": {
        "text": {"role": "input", "type": "text"}, "amount": {"role": "input", "type": "number", "min": 0, "max": 100},
        "age_band": {"role": "protected", "type": "category"},
        "sex": {"role": "protected", "type": "category"},
        "band": {"role": "protected", "type": "category"},
        "intent": {"role": "prediction", "type": "category"}, "intent_true": {"role": "outcome", "type": "category"},
    },
    "baseline": {"rows": "first 500"}, "redact": {"text": ["email", "phone"]},
    "monitors": {
        "windows": ["1d", "7d"], "false_alarms": "1 per 30d",
        "drift": {"columns": ["amount", "text"], "floors": {"amount": "0.05 std"}, "must_see": {"amount": "0.5 std"}},
        "attribution": {"rows": 100, "floor": 0.1},
        "kpi": [{"metric": "accuracy", "min": 0.8}, {"metric": "latency_p95", "column": "amount", "max": 200},
                {"metric": "own", "expression": "count()", "min": 3}],
        "fairness": [{"metric": "demographic_parity_difference", "by": ["age_band", "sex"], "max": 0.1},
                     {"metric": "demographic_parity_ratio", "by": ["sex"], "min": 0.8}],
    },
    "retrain": {
        "when": ["drift"], "cooldown": "24h", "min_outcomes": 500, "approval": "two",
        "recipe": {"base_model": "/models/base", "method": "qlora", "task": "sequence_classification"},
        "envelope": {
            "base_models": ["/models/base"], "hyperparameters": {"r": [4, 64]}, "sources": ["events"],
            "data_window": "90d", "max_rows": 1000, "max_gpu_hours": 2, "max_kwh": 1.5, "max_regression": 0.01,
            "kpi_floor": {"accuracy": 0.8, "log_loss": 0.5}, "fairness": {"demographic_parity_difference": 0.1},
            "golden_share": 0.9,
        },
        "budget": {"runs_per_day": 2, "gpu_hours_per_month": 20}, "gates": ["no_regression", "fairness"],
    },
    "notify": {"channels": ["ops"], "severity": "info"}, "retention": "365d", "traces": {"service": "router"},
    "reasons": {
        "adverse": "refused", "most": 3, "exclude": ["text"], "mutable": {"amount": "down"},
        "table": {"version": "1", "texts": {"amount": "The amount is too high"}},
    },
}  # fmt: skip


class Gone:
    """Stands for a key that is taken out; its words name the test, the same in every process."""

    def __repr__(self) -> str:
        return "gone"


GONE = Gone()


def changed(*changes: tuple[str, Any]) -> ModelSpec:
    """The spec with values at dotted paths, of which a number is a place in a list; GONE takes the key out."""
    import copy

    document: Any = copy.deepcopy(SPEC)
    for path, value in changes:
        at, *keys = document, *path.split(".")
        for key in keys[:-1]:
            at = at[int(key)] if isinstance(at, list) else at[key]
        last = int(keys[-1]) if isinstance(at, list) else keys[-1]
        if value is GONE:
            del at[last]
        else:
            at[last] = value
    return parse_spec(document)


def fields(*changes: tuple[str, Any]) -> list[str]:
    return [one.field for one in loosenings(parse_spec(SPEC), changed(*changes))]


LOOSER: tuple[tuple[str, Any, str], ...] = (
    ("risk", "limited", "risk"),
    ("baseline", {"rows": "first 600"}, "baseline"),
    ("redact.text", ["email"], "redact.text"),
    ("columns.amount.max", 200, "columns.amount.max"),
    ("columns.amount.min", GONE, "columns.amount.min"),
    ("columns.band.role", "segment", "columns.band.role"),
    ("monitors.windows", ["7d"], "monitors.windows"),
    ("monitors.windows", ["2d", "7d"], "monitors.windows"),
    ("monitors.false_alarms", "1 per 90d", "monitors.false_alarms"),
    ("monitors.drift.columns", ["amount"], "monitors.drift.columns"),
    ("monitors.drift.floors.amount", "0.2 std", "monitors.drift.floors.amount"),
    ("monitors.drift.floors", {}, "monitors.drift.floors.amount"),
    ("monitors.drift.must_see.amount", "1 std", "monitors.drift.must_see.amount"),
    ("monitors.drift.short_reference", True, "monitors.drift.short_reference"),
    ("monitors.estimate", False, "monitors.estimate"),
    ("monitors.kpi.0.min", 0.7, "monitors.kpi[accuracy].min"),
    ("monitors.kpi.0.min", GONE, "monitors.kpi[accuracy].min"),
    ("monitors.kpi.0.min_rows", 90, "monitors.kpi[accuracy].min_rows"),
    ("monitors.kpi.0", GONE, "monitors.kpi[accuracy]"),
    ("monitors.kpi.1.max", 300, "monitors.kpi[latency_p95 amount].max"),
    ("monitors.kpi.2.metric", "renamed", "monitors.kpi[own]"),
    ("monitors.kpi.2.expression", "count() + 1", "monitors.kpi[own]"),
    ("monitors.fairness.0.max", 0.2, "monitors.fairness[demographic_parity_difference].max"),
    ("monitors.fairness.0.by", ["sex"], "monitors.fairness[demographic_parity_difference].by"),
    ("monitors.fairness.1.min", 0.7, "monitors.fairness[demographic_parity_ratio].min"),
    ("monitors.fairness.1.min_group", 60, "monitors.fairness[demographic_parity_ratio].min_group"),
    ("retrain.cooldown", "1h", "retrain.cooldown"),
    ("retrain.min_outcomes", 100, "retrain.min_outcomes"),
    ("retrain.approval", "one", "retrain.approval"),
    ("retrain.gates", ["no_regression"], "retrain.gates"),
    ("retrain.envelope.base_models", GONE, "retrain.envelope.base_models"),
    ("retrain.envelope.base_models", ["/models/base", "/models/other"], "retrain.envelope.base_models"),
    ("retrain.envelope.hyperparameters.r", [4, 128], "retrain.envelope.hyperparameters.r"),
    ("retrain.envelope.hyperparameters", GONE, "retrain.envelope.hyperparameters.r"),
    ("retrain.envelope.data_window", "180d", "retrain.envelope.data_window"),
    ("retrain.envelope.max_gpu_hours", 4, "retrain.envelope.max_gpu_hours"),
    ("retrain.envelope.max_kwh", GONE, "retrain.envelope.max_kwh"),
    ("retrain.envelope.max_rows", GONE, "retrain.envelope.max_rows"),
    ("retrain.envelope.max_regression", 0.05, "retrain.envelope.max_regression"),
    ("retrain.envelope.regression_margin", 0.2, "retrain.envelope.regression_margin"),
    ("retrain.envelope.golden_share", 0.5, "retrain.envelope.golden_share"),
    ("retrain.envelope.compared_by", ["exact_match"], "retrain.envelope.compared_by"),
    ("retrain.envelope.safety_probes", [{"prompt": "who?", "any_of": ["I"]}], "retrain.envelope.safety_probes"),
    ("retrain.envelope.kpi_floor.accuracy", 0.5, "retrain.envelope.kpi_floor.accuracy"),
    ("retrain.envelope.kpi_floor.log_loss", 0.9, "retrain.envelope.kpi_floor.log_loss"),
    ("retrain.envelope.kpi_floor", {}, "retrain.envelope.kpi_floor.accuracy"),
    ("retrain.envelope.fairness.demographic_parity_difference", 0.3,
     "retrain.envelope.fairness.demographic_parity_difference"),
    ("retrain.budget.runs_per_day", 5, "retrain.budget.runs_per_day"),
    ("retrain.budget", GONE, "retrain.budget.runs_per_day"),
    ("retention", "180d", "retention"),
    ("traces.where", {"env": "none"}, "traces"),
    ("notify.severity", "critical", "notify.severity"),
    ("notify.cooldown", "365d", "notify.cooldown"),
    ("notify.channels", ["other"], "notify.channels"),
    ("monitors.attribution", GONE, "monitors.attribution"),
    ("monitors.attribution.rows", 50, "monitors.attribution.rows"),
    ("monitors.attribution.floor", 0.2, "monitors.attribution.floor"),
    ("reasons", GONE, "reasons"), ("reasons.most", 2, "reasons.most"), ("reasons.adverse", "held", "reasons.adverse"),
    ("reasons.reference", "all", "reasons.reference"),
    ("reasons.table", {"version": "2", "texts": {"amount": "Too much"}}, "reasons.table"),
)  # fmt: skip


@pytest.mark.parametrize(("path", "value", "found"), LOOSER, ids=[f"{p}={v}" for p, v, _ in LOOSER])
def test_what_holds_less_is_named(path: str, value: Any, found: str) -> None:
    assert fields((path, value))[0] == found


STRICTER: tuple[tuple[str, Any], ...] = (
    ("owner", "others@example.com"), ("purpose", "route better"), ("retention", "400d"), ("retention", GONE),
    ("columns.amount.max", 50), ("redact.text", ["email", "phone", "iban"]),
    ("columns.more", {"role": "measure", "type": "number"}),
    ("monitors.windows", ["1d", "7d", "14d"]), ("monitors.false_alarms", "2 per 30d"),
    ("monitors.drift.columns", "all"), ("monitors.drift.floors.amount", "0.01 std"),
    ("monitors.drift.must_see", {"amount": "0.5 std", "text": "0.5 std"}),
    ("monitors.kpi.0.min", 0.9), ("monitors.kpi.0.max", 0.99), ("monitors.kpi.1.max", 100),
    ("monitors.kpi", [*reversed(SPEC["monitors"]["kpi"]), {"metric": "f1_macro", "min": 0.5}]),
    ("monitors.fairness.0.max", 0.05), ("monitors.fairness.1.min", 0.9),
    ("monitors.attribution.rows", 300), ("monitors.attribution.floor", 0.05),
    ("reasons.most", 4), ("reasons.mutable", {}), ("reasons.reference_rows", 900), ("reasons.budget", 500),
    ("retrain", GONE), ("retrain.cooldown", "2d"), ("retrain.gates", ["no_regression", "fairness", "integrity"]),
    ("retrain.envelope.max_gpu_hours", 1), ("retrain.envelope.kpi_floor.log_loss", 0.4),
    ("retrain.envelope.kpi_floor.accuracy", 0.9), ("retrain.envelope.methods", ["qlora"]),
    ("retrain.envelope.hyperparameters", {"r": [8, 32], "epochs": [1, 2]}), ("retrain.envelope.data_window", "30d"),
    ("retrain.envelope.compared_by", ["exact_match", "log_probability"]),
    ("retrain.envelope.golden_share", 1.0), ("retrain.budget.kwh_per_day", 3), ("retrain.allowed_hours",
     {"hours": "22:00-06:00"}), ("notify", GONE),
)  # fmt: skip


@pytest.mark.parametrize(("path", "value"), STRICTER, ids=[f"{p}={v}" for p, v in STRICTER])
def test_what_only_tightens_or_does_not_matter_is_not(path: str, value: Any) -> None:
    assert fields((path, value)) == []


def test_a_loosening_hidden_among_tightenings_is_found() -> None:
    found = fields(
        ("monitors.kpi.0.min", 0.95), ("retrain.envelope.max_gpu_hours", 1), ("retrain.budget.runs_per_day", GONE)
    )
    assert found == ["retrain.budget.runs_per_day"]


def test_a_policy_that_comes_lets_the_model_be_retrained() -> None:
    assert [one.field for one in loosenings(changed(("retrain", GONE)), parse_spec(SPEC))] == ["retrain"]


def test_two_rules_of_one_kpi_are_each_held_against_the_rules_of_its_kind() -> None:
    both = [{"metric": "accuracy", "min": 0.8}, {"metric": "accuracy", "min": 0.6}]
    one = [{"metric": "accuracy", "min": 0.7}]
    before, after = changed(("monitors.kpi", both)), changed(("monitors.kpi", one))
    assert [str(o) for o in loosenings(before, after)] == ["monitors.kpi[accuracy].min: 0.8 to 0.7 (smaller)"]
