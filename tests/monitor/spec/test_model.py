"""What the fields of a spec must satisfy together: every check names the key, the value and the fix."""

import copy
from typing import Any

import pytest

from monitor.spec import model
from monitor.spec.parse import SpecError, parse_spec
from tests.monitor import traffic

RECIPE = {"base_model": "/models/base"}

REASONS: dict[str, Any] = {"adverse": "no", "table": {"version": "1", "texts": {"amount": "The amount is too high"}}}

REFUSED: list[tuple[str, str, Any, str]] = [
    ("column_names", "columns.date", {"role": "input", "type": "number"}, "columns.date: every event has a built-in"),
    ("column_names", "columns.9lives", {"role": "input", "type": "number"}, "columns.9lives: a column name "
    "starts with a letter"),
    ("positive_class", "columns.amount.positive", "yes", "columns.amount.positive: is 'yes'.*leave it out"),
    ("positive_class", "monitors.fairness.0.positive", "approved", r"monitors.fairness\[0\].positive: .*positive is "
     "'approved' and columns.decision.positive is 'refused'; a model has one positive class"),
    ("positive_class", "columns.truth.positive", "approved", "columns.truth.positive is 'approved' and "
     "columns.decision.positive is 'refused'; a model has one positive class, so give both the same"),
    ("single_roles", "columns.region.role", "prediction", "prediction is given to region, decision; only one"),
    ("prediction", "columns.decision.role", "segment", "no column has role prediction; give it"),
    ("prediction", "columns.decision.type", "number", "prediction of type category or boolean, not number"),
    ("texts", "columns.truth", {"role": "outcome", "type": "texts", "references": "accepted"},
     "columns.truth.type: is texts.*the task is classification, so give one outcome"),
    ("predicts", "columns.decision.predicts", "trueth", "columns.decision.predicts: names column 'trueth', which is "
    "not declared under columns; did you mean truth"),
    ("target", "columns.rated", {"role": "outcome", "type": "category"}, "columns.decision.predicts: is missing: "
    "predictions of decision may be compared with truth, rated; name the one.*such as `predicts: truth`"),
    ("adverse_output", "reasons", REASONS, r"reasons.adverse: is 'no', which is none of explain.outputs \(refused, "
     r"approved\); name one of them"),
    ("budget", "monitors.false_alarms", "1 per 30d", "'1 per 30d'.*needs time windows.*alpha: 0.01"),
    ("phases", "monitors.phases", "day_of_week", "monitors.phases: is day_of_week.*leave it out"),
    ("drift_columns", "monitors.drift", {"must_see": {"tone": "0.1 std"}}, "monitors.drift.must_see.tone: names "
    "column 'tone'"),
    ("kpi", "monitors.kpi", [{"metric": "accuracy", "min": 0.9, "max": 0.8}], "min 0.9 is above max 0.8; swap"),
    ("kpi", "monitors.kpi", [{"metric": "latency_p50", "column": "tone"}], r"monitors.kpi\[0\].column: names "
    r"column 'tone'"),
    ("fairness", "monitors.fairness.0.by", ["region"], r"fairness\[0\].by\[0\]: names 'region', which is no "
    r"column with role protected"),
    ("fairness_rules", "monitors.fairness", [{"metric": "equalized_odds_difference", "by": ["age_band"]}] * 2,
     r"fairness\[1\].by: compares equalized_odds_difference by age_band, as monitors.fairness\[0\] does"),
    *[("fairness_rules", "monitors.fairness", [{"metric": metric, "by": ["age_band"], **limit}], words)
      for metric, limit, words in (
        ("demographic_parity_ratio", {"max": 0.1}, r"fairness\[0\].max: is 0.1, and .* is 1 where .*; write min"),
        ("demographic_parity_difference", {"min": 0.8}, r"fairness\[0\].min: is 0.8, and .* is 0 where .*; write max"),
        ("demographic_parity_difference", {"max": 10}, r"fairness\[0\].max: is 10, and .* between 0 and 1; .* as 0.1"),
        ("demographic_parity_ratio", {"min": 80}, r"fairness\[0\].min: is 80, and .* between 0 and 1; .* as 0.8"),
        ("treatment_equality_difference", {"max": -1}, r"fairness\[0\].max: is -1, and .* at 0 or above"),
    )],
    ("given", "monitors.fairness.0.given", ["region", "region"], r"fairness\[0\].given\[1\]: names 'region' twice"),
    ("flips", "monitors.flips", {"columns": {"region": ["north", "south"]}}, "monitors.flips.columns.region: has role "
    "segment and type category; only an input of type category or boolean is read by the model"),
    ("redact", "redact", {"tone": ["email"]}, "redact.tone: names column 'tone'"),
    ("redact", "redact", {"amount": ["email"]}, "redact.amount: the column has type number; only columns of type text"),
    ("redact", "redact", {"customer": ["email"]}, "redact.customer.*a digest already; leave it out"),
    ("traces", "traces", {"service": "bot", "columns": {"tone": "attr"}}, "traces.columns.tone: names column 'tone'"),
    ("retrain", "retrain", {"when": ["drift"], "recipe": {}}, "retrain.recipe.base_model: is missing; give"),
    ("explain", "explain", {"model": "./m.ubj", "features": ["tone"]}, r"explain.features\[0\]: names column 'tone'"),
    ("retention", "retention", "12h", "retention: is 12h; give at least 1d"),
    ("reasons", "reasons", REASONS | {"table": {"version": "1", "texts": {"region": "Where"}}},
     r"reasons.table.texts: has no text for 'amount', which the model reads; add `amount: ...`"),
    ("attribution", "monitors.attribution", {"by": ["regoin"]}, r"monitors.attribution.by\[0\]: names 'regoin', which "
     "is no column with role segment; such columns: region; did you mean region"),
    ("part", "part_of", {"model": "loans", "agent": "a"}, "part_of.model: is 'loans', the model itself; name"),
    ("rows_of_a_window", "monitors.kpi", [{"metric": "accuracy", "min": 0.8, "min_rows": 10**6}],
     r"monitors.kpi\[0\].min_rows: is 1000000, and a window has 250 rows, so nothing is ever judged"),
]  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    """The document of a valid spec with one value set at a dotted path."""
    document = copy.deepcopy(traffic.document())
    document["columns"]["decision"]["positive"] = "refused"
    if path == "reasons":
        document["explain"] = {"model": "/models/m.ubj", "outputs": ["refused", "approved"]}
    *above, last = path.split(".")
    part: Any = document
    for key in above:
        part = part[int(key)] if isinstance(part, list) else part[key]
    part[last] = value
    return document


@pytest.mark.parametrize(("check", "path", "value", "message"), REFUSED, ids=[f"{c[0]}-{c[1]}" for c in REFUSED])
def test_fields_that_contradict_each_other_are_refused_with_key_value_and_fix(
    check: str, path: str, value: Any, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(changed(path, value), new=True)


def test_every_check_is_listed_and_refuses_something() -> None:
    written = {name.removeprefix("_check_") for name in vars(model) if name.startswith("_check_")}
    assert {check.__name__.removeprefix("_check_") for check in (*model._CHECKS, *model._NEW_CHECKS)} == written
    assert {check for check, *_ in REFUSED} == written


def test_the_first_contradiction_is_the_one_reported() -> None:
    document = changed("retention", "12h") | {"redact": {"tone": ["email"]}}
    with pytest.raises(SpecError, match=r"redact\.tone: names column 'tone'") as refused:
        parse_spec(document)
    assert [problem["field"] for problem in refused.value.facts["problems"]] == ["redact.tone"]
