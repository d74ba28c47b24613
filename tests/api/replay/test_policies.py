"""How policies to compare are written, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from api.replay.policies import budgeted, policies
from core.errors import InvalidError
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec


@pytest.fixture
def spec() -> ModelSpec:
    return parse_spec(
        {
            "model": "compared", "task": "classification", "owner": "ml@example.com", "purpose": "to compare",
            "columns": {
                "x": {"role": "input", "type": "number"}, "said": {"role": "prediction", "type": "category"},
                "truth": {"role": "outcome", "type": "category"},
            },
            "baseline": {"rows": "first 1000"},
            "monitors": {
                "windows": ["1d", "7d"], "kpi": [{"metric": "accuracy"}], "drift": {"floors": {"x": "0.1 std"}},
            },
        }
    )  # fmt: skip


@pytest.mark.parametrize("left_out", ["baseline", "windows"])
def test_policies_of_automatic_windows_or_references_are_refused(spec: ModelSpec, left_out: str) -> None:
    document = spec.document
    given = document | (
        {"baseline": "auto"} if left_out == "baseline" else {"monitors": document["monitors"] | {"windows": "auto"}}
    )
    with pytest.raises(InvalidError, match=r"monitors\.windows: \[1d\]"):
        policies(parse_spec(given), ["row_tests"])


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("blocks", "drift.rule", "blocks"),
        ("row_tests", "drift.rule", "row_tests"),
        ("thresholds:psi=0.2", "drift.thresholds", {"psi": 0.2}),
        ("thresholds:psi=0.2:ks=0.1", "drift.thresholds", {"psi": 0.2, "ks": 0.1}),
        ("alpha=0.01", "false_alarms", {"alpha": 0.01}),
        ("row_tests+alpha=0.01", "false_alarms", {"alpha": 0.01}),
        ("false_alarms=1 per 60d", "false_alarms", "1 per 60d"),
        ("windows=7d", "windows", ["7d"]),
        ("windows=12h/1d", "windows", ["12h", "1d"]),
        ("windows=500+alpha=0.01", "windows", {"rows": 500}),
        ("phases=day_of_week", "phases", "day_of_week"),
    ],
)
def test_a_policy_is_the_declared_spec_with_what_its_name_says(
    spec: ModelSpec, text: str, field: str, value: Any
) -> None:
    declared, changed = policies(spec, [text])
    assert (declared.name, declared.spec, changed.name) == ("declared", spec, text)
    found: Any = changed.spec.document["monitors"]
    for part in field.split("."):
        found = found[part]
    assert found == value
    assert changed.spec.monitors.drift.floors == {"x": "0.1 std"}
    assert changed.spec.monitors.kpi == spec.monitors.kpi


def test_policies_are_separated_by_commas_or_given_as_files(spec: ModelSpec, tmp_path: Path) -> None:
    file = tmp_path / "strict.yaml"
    file.write_text("false_alarms: 1 per 90d\ndrift: {floors: {x: 0.2 std}}\n")
    found = policies(spec, ["row_tests, alpha=0.01", str(file)])
    assert [policy.name for policy in found] == ["declared", "row_tests", "alpha=0.01", "strict"]
    assert found[3].spec.monitors.drift.floors == {"x": "0.2 std"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("rows", "is not a policy"),
        ("thresholds", "go together"),
        ("thresholds:psi=much", "is not a number"),
        ("thresholds:magic=0.2", "is not known"),
        ("alpha=2", "alpha"),
        ("windows=5 moons", "is not a duration"),
        ("windows=500", "a budget per period, which needs time windows"),
        ("blocks,blocks", "appears twice"),
        ("absent.yaml", "does not exist"),
    ],
)
def test_what_is_no_policy_is_refused_by_its_text(spec: ModelSpec, text: str, word: str) -> None:
    with pytest.raises(InvalidError, match=word) as refused:
        policies(spec, [text])
    assert refused.value.facts["field"] == "compare"


@pytest.mark.parametrize(
    ("content", "word"),
    [("kpi: []", "'kpi'"), ("- blocks", "not a mapping"), ("{", "neither YAML"), ("drift: 1", "drift")],
)
def test_a_policy_file_holds_windows_budget_phases_and_drift_alone(
    spec: ModelSpec, tmp_path: Path, content: str, word: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(content)
    with pytest.raises(InvalidError, match=word):
        policies(spec, [str(file)])


def test_a_spec_for_its_budget_alone_keeps_windows_and_rule_and_leaves_limits_out(spec: ModelSpec) -> None:
    found = budgeted(spec)
    assert found.monitors.kpi == ()
    assert found.monitors.model_copy(update={"kpi": spec.monitors.kpi, "estimate": True}) == spec.monitors


def test_a_policy_file_is_bounded_before_it_is_understood(spec: ModelSpec, tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    layers = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12))
    for text, word in ((f"l0: &l0 [x]\n{layers}\n", "too large"), ("windows: 2026-13-45", "looks like a date")):
        file.write_text(text)
        with pytest.raises(InvalidError, match=word):
            policies(spec, [str(file)])
