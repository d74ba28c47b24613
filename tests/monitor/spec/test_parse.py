"""A wrong spec is refused in the words of whoever wrote it: the YAML key, its line, the value and the fix."""

import json
import re
from typing import Any

import pytest
import yaml

from monitor.spec.parse import SpecError, load_spec
from tests.monitor import traffic
from tests.monitor.spec.test_model import REASONS, changed

INTERNALS = re.compile(
    r"function-|tuple\[|literal\[|Input should|validation error|type=|pydantic|RowWindow|AlphaBudget|NewOutcomes|"
    r"OwnPattern|extra_forbidden|NoneType|constrained|_placed|Extra inputs|Field required|Mapping"
)
RECIPE = {"base_model": "/models/base", "task": "sequence_classification"}
ROWS = {"windows": {"rows": 500}, "false_alarms": {"alpha": 0.01}}

# (dotted path to set, value, key that the error names, words of the reason)
WRONG: list[tuple[str, Any, str, str]] = [
    ("modell", "x", "modell", "is no key of a spec at this place; did you mean model?"),
    ("monitors.window", ["1d"], "monitors.window", "did you mean windows?"),
    ("columns.amount.rol", "input", "columns.amount.rol", "did you mean role?"),
    ("columns.amount", {"role": "input"}, "columns.amount.type", "is missing"),
    ("columns.amount.type", "numbr", "columns.amount.type", "did you mean number?"),
    ("columns.amount.role", ["input"], "columns.amount.role", "is a list; write one of"),
    ("columns.amount", "input", "columns.amount", "write a mapping with the keys role, type"),
    ("columns", ["amount"], "columns", "is a list; write a mapping from names to"),
    ("columns", {}, "columns", "give at least one entry"),
    ("columns.amount.min", "low", "columns.amount.min", "'low'; write a number, such as `0`"),
    ("columns.amount.dimensions", 2.5, "columns.amount.dimensions", "give a whole number"),
    ("columns.decision.positive", ["a"], "columns.decision.positive", "is a list; write"),
    ("task", "clasification", "task", "did you mean classification?"),
    ("model", "Loans", "model", "lower-case letters"),
    ("owner", "", "owner", "write a text"),
    ("owner", None, "owner", "is empty; write text, such as `ml-support@example.com`"),
    ("owner", 7, "owner", 'YAML reads 7 as a number; write text, such as'),
    ("risk", "none", "risk", "one of `minimal`, `limited`, `high`"),
    ("baseline", {"rows": "first few"}, "baseline", "first 5000"),
    ("baseline", {"rows": 5000}, "baseline.rows", "first 5000"),
    ("baseline", {"range": {"from": "soon", "to": "2026-03-01T00:00:00Z"}}, "baseline.range.from", "write a time"),
    ("baseline", {}, "baseline", "exactly one of"),
    ("baseline", {"rows": "first 99999999999"}, "baseline.rows", "at most 999,999,999 rows"),
    ("baseline", {"range": {"from": "2026-01-01T00:00:00", "to": "2026-03-01T00:00:00Z"}}, "baseline.range.from",
     "without a zone; write it as `2026-01-01T00:00:00Z` for UTC"),
    ("baseline", {"range": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}}, "baseline.range.to",
     "is the time of `from`, so the range holds no time"),
    ("baseline", {"range": {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}}, "baseline.range.to",
     "is before `from`"),
    ("baseline", {"range": {"from": "0001-01-01T00:00:00+14:00", "to": "2026-01-01T00:00:00Z"}}, "baseline.range.from",
     "give a time from 1700 to 9998"),
    ("baseline", {"rows": "first 1"}, "baseline.rows", "needs at least 100 rows, and about 1,000 to show more"),
    ("times", {"earliest": 1950}, "times.earliest", "is 1950, a number; write a time with its zone"),
    ("times", {"earliest": "1066-10-14T09:00:00Z"}, "times.earliest", "give a time from 1700 to 9998"),
    ("times", {"ahead": "99999999999d"}, "times.ahead", "is too long; write at most 36525d, a hundred years"),
    ("retention", "99999999999d", "retention", "is too long"),
    ("explain", {"model": "m.pkl"}, "explain.model", "is no file; write a path that starts with /, ./"),
    ("explain", {"model": "./m", "endpoint": "credit"}, "explain.endpoint", "give the file or the endpoint, not both"),
    ("explain", {"outputs": ["no", "yes"]}, "explain.outputs", "is set without model and endpoint"),
    ("explain", {"model": "./m", "levels": {"amount": ["1"]}}, "explain.levels.amount", "the column has type number"),
    ("explain", {"model": "./m", "outputs": ["a", "a"]}, "explain.outputs", "names 'a' twice"),
    ("explain", {"background": "refrence"}, "explain.background", "did you mean reference?"),
    ("explain", {"budget": True}, "explain.budget", "is true; give a number"),
    ("explain", {"budget": 1}, "explain.budget", "give at least 4"),
    ("explain", {"timeout": "5"}, "explain.timeout", "'5' is not a duration"),
    ("history", "9" * 6000 + "d", "history", "is not a duration"),
    ("monitors.windows", {"rows": 99999999999}, "monitors.windows.rows", "at most 999,999,999 rows"),
    ("monitors.windows", ["99999999999d"], "monitors.windows[0]", "is too long"),
    ("monitors.windows", ["7d", "36500d"], "monitors.windows", "has 36500d; a window has at most 3653d, ten years"),
    ("monitors", ROWS | {"kpi": [{"metric": "accuracy", "min": 0.8, "min_rows": 501}]}, "monitors.kpi[0].min_rows",
     "is 501, and a window has 500 rows, so nothing is ever judged; give at most 500"),
    ("monitors", ROWS | {"fairness": [{"metric": "x", "by": ["age_band"], "min_group": 501}]},
     "monitors.fairness[0].min_group", "give at most 500"),
    ("monitors.fairness", [{"metric": "x", "by": ["age_band"], "given": ["regio"]}], "monitors.fairness[0].given[0]",
     "names column 'regio', which is not declared under columns"),
    ("monitors.fairness", [{"metric": "x", "by": ["age_band"], "given": ["age_band"]}],
     "monitors.fairness[0].given[0]", "has role protected; choose from the columns with role input or segment"),
    ("monitors.windows", ["1d", "24h"], "monitors.windows", "where a length appears twice"),
    ("monitors.windows", ["7h", "1d"], "monitors.windows", "is not made of whole blocks of 7h"),
    ("monitors.windows", ["36h"], "monitors.windows", "multiples of a day"),
    ("monitors.false_alarms", "0 per 30d", "monitors.false_alarms", "above 0"),
    ("monitors.false_alarms", "1 per 99999999999d", "monitors.false_alarms", "is too long"),
    ("monitors.false_alarms", "0.1 per 36500d", "monitors.false_alarms", "one in a hundred years"),
    ("monitors.false_alarms", {"alpha": 1e-300}, "monitors.false_alarms.alpha", "give at least 0.000001"),
    ("monitors.windows", "1d", "monitors.windows", "write `auto`, a list of durations or a mapping with the key rows"),
    ("monitors.windows", 5, "monitors.windows", "is 5; write `auto`, a list of durations"),
    ("monitors.windows", ["1d", "7x"], "monitors.windows[1]", "'7x' is not a duration"),
    ("monitors.windows", [1], "monitors.windows[0]", "is 1; write a duration"),
    ("monitors.windows", {"row": 500}, "monitors.windows.row", "did you mean rows?"),
    ("monitors.windows", {"rows": 5}, "monitors.windows.rows", "is 5; give at least 100"),
    ("monitors.false_alarms", 1, "monitors.false_alarms", "`1 per 30d` or `{alpha: 0.01}`"),
    ("monitors.false_alarms", "some", "monitors.false_alarms", "write alarms per period such as `1 per 30d`"),
    ("monitors.false_alarms", {"alpha": 2}, "monitors.false_alarms.alpha", "is 2; give less than 1"),
    ("monitors.false_alarms", {"alfa": 0.1}, "monitors.false_alarms.alfa", "did you mean alpha?"),
    ("monitors.phases", "weekly", "monitors.phases", "one of `weekday_weekend`"),
    ("monitors.drift", "all", "monitors.drift", "write a mapping with the keys columns"),
    ("monitors.drift", {"columns": "amount"}, "monitors.drift.columns", "`all` or a list of text"),
    ("monitors.drift", {"columns": ["amont"]}, "monitors.drift.columns[0]", "did you mean amount?"),
    ("monitors.drift", {"floors": {"amount": "much"}}, "monitors.drift.floors.amount", "is not a change"),
    ("monitors.kpi", {"metric": "accuracy"}, "monitors.kpi", "is a mapping; write a list of"),
    ("monitors.kpi", [{"metrik": "accuracy"}], "monitors.kpi[0].metric", "is missing"),
    ("monitors.kpi", [{"metric": "accuracy", "max": "x"}], "monitors.kpi[0].max", "write a number"),
    ("monitors.fairness", [{"metric": "x", "by": "region"}], "monitors.fairness[0].by", "write a list of text"),
    ("redact", {"amount": ["emial"]}, "redact.amount[0]", "did you mean email?"),
    ("redact", {"region": [{"name": "X", "pattern": "a"}]}, "redact.region[0].name", "lower-case letter"),
    ("redact", {"region": [{"pattern": "a"}]}, "redact.region[0].name", "is missing"),
    ("redact", {"region": "email"}, "redact.region", "write a list of"),
    ("retrain", {"when": ["drft"], "recipe": RECIPE}, "retrain.when[0]", "did you mean drift?"),
    ("retrain", {"when": [{"new_outcome": 5}], "recipe": RECIPE}, "retrain.when[0]", "new_outcomes"),
    ("retrain", {"when": [{"cron": "60 * * * *"}], "recipe": RECIPE}, "retrain.when[0].cron", "minute '60'"),
    ("retrain", {"when": [{"cron": "daily"}], "recipe": RECIPE}, "retrain.when[0].cron", "five fields"),
    ("retrain", {"when": [{"cron": "0 3 * * 0", "timezone": "Europe/Berln"}], "recipe": RECIPE},
     "retrain.when[0].timezone", "did you mean Europe/Berlin?"),
    ("retrain", {"when": [{"cron": "0 3 * * 0", "timezone": "CEST"}], "recipe": RECIPE},
     "retrain.when[0].timezone", "write a place such as"),
    ("retrain", {"when": [{"cron": "0 3 * * 0", "timezone": "localtime"}], "recipe": RECIPE},
     "retrain.when[0].timezone", "is another zone on each machine"),
    ("retrain", {"when": [{"cron": "0 3 * * 0", "zone": "UTC"}], "recipe": RECIPE}, "retrain.when[0].zone", "timezone"),
    ("retrain", {"when": [{"kpi": "guessed"}], "recipe": RECIPE}, "retrain.when[0].kpi", "one of `realised`"),
    ("retrain", {"when": [{"new_classes": {"per": "week"}}], "recipe": RECIPE}, "retrain.when[0].new_classes.per",
     "is not a duration"),
    ("retrain", {"when": ["drift"], "recipe": RECIPE, "allowed_hours": {"hours": "22-6"}},
     "retrain.allowed_hours.hours", "such as `22:00-06:00`"),
    ("retrain", {"when": ["drift"], "recipe": RECIPE, "allowed_hours": {"hours": "22:00-06:00", "days": "work"}},
     "retrain.allowed_hours.days", "such as `mon-fri`"),
    ("retrain", {"when": ["drift"], "recipe": RECIPE, "allowed_hours": {"hours": "22:00-06:00", "timezone": "berlin"}},
     "retrain.allowed_hours.timezone", "did you mean Europe/Berlin?"),
    ("retrain", {"when": [], "recipe": RECIPE}, "retrain.when", "give at least one entry"),
    ("retrain", {"when": ["drift"], "recipe": RECIPE, "cooldown": "soon"}, "retrain.cooldown", "is not a duration"),
    ("retrain", {"when": ["drift"], "recipe": RECIPE, "gates": ["luck"]}, "retrain.gates[0]", "one of `no_regression`"),
    ("traces", {"service": "bot", "spans": ["lm"]}, "traces.spans[0]", "did you mean llm?"),
    ("traces", {"service": "bot", "version": 5}, "traces.version", 'put it in quotes: "5"'),
    ("retention", 30, "retention", "is 30; write a duration, such as"),
    ("reasons", REASONS | {"adverse": {"below": 600}}, "reasons.adverse", "does not fit task classification; name a "
     "class, such as `refused`"),
    ("reasons", REASONS | {"adverse": " "}, "reasons.adverse", "which is no value; name a class"),
    ("reasons", {"adverse": "no"}, "reasons.table", "is missing"),
    ("reasons", REASONS | {"table": {"version": 1, "texts": {"amount": "x"}}}, "reasons.table.version",
     'put it in quotes: "1"'),
    ("reasons", REASONS | {"table": {"version": "1", "texts": {"amount": " "}}}, "reasons.table.texts.amount",
     "is blank; write the reason in plain language"),
    ("reasons", REASONS | {"table": {"version": "1", "texts": {"amount": "x", "amonut": "y"}}},
     "reasons.table.texts.amonut", "is no column that is declared under columns and no group; did you mean amount?"),
    ("reasons", REASONS | {"table": {"version": "1", "texts": {"amount": "x", "truth": "y"}}},
     "reasons.table.texts.truth", "which has role outcome: no model reads that for its answer"),
    ("reasons", REASONS | {"table": {"version": "1", "texts": {"amount": "x", "age_band": "y"}}},
     "reasons.table.texts.age_band", "is never told as a reason"),
    ("reasons", REASONS | {"most": 0}, "reasons.most", "is 0; give at least 1"),
    ("reasons", REASONS | {"most": 11}, "reasons.most", "give at most 10"),
    ("reasons", REASONS | {"reference": "refused"}, "reasons.reference", "'refused'; write one of"),
    ("reasons", REASONS | {"reference": {"dataset": ""}}, "reasons.reference.dataset", "write a text"),
    ("reasons", REASONS | {"group": {"size": ["amount", "amont"]}}, "reasons.group.size[1]", "did you mean amount?"),
    ("reasons", REASONS | {"group": {"size": []}}, "reasons.group.size", "is an empty list"),
    ("reasons", REASONS | {"group": {"size": ["amount"]}}, "reasons.table.texts",
     "has no text for 'amount', of group size, which the model reads; add `size: ...`"),
    ("reasons", REASONS | {"group": {"a": ["amount"], "b": ["amount"]}}, "reasons.group.b[0]", "is in a already"),
    ("reasons", REASONS | {"group": {"region": ["amount"]}}, "reasons.group.region", "choose another name"),
    ("reasons", REASONS | {"exclude": ["postcode"]}, "reasons.exclude[0]", "is no column that is declared"),
    ("reasons", REASONS | {"mutable": {"amount": "lower"}}, "reasons.mutable.amount", "one of `up`, `down`, `any`"),
    ("reasons", REASONS | {"mutable": {"age_band": "any"}}, "reasons.mutable.age_band", "nobody is told to change"),
    ("reasons", REASONS | {"mutable": {"region": "any"}}, "reasons.mutable.region", "is not read by the model"),
    ("reasons", REASONS | {"mutable": {"decision": "any"}}, "reasons.mutable.decision", "has role prediction"),
    ("reasons", REASONS | {"budget": 1}, "reasons.budget", "give at least 10"),
    ("monitors.attribution", {"rows": 10}, "monitors.attribution.rows", "is 10; give at least 30"),
    ("monitors.attribution", {"floor": -1}, "monitors.attribution.floor", "give at least 0"),
    ("monitors.attribution", {"by": ["age_band"]}, "monitors.attribution.by[0]", "no column with role segment"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "key", "words"), WRONG, ids=[f"{c[0]}={c[1]}"[:60] for c in WRONG])
def test_a_wrong_value_is_named_as_it_is_written_with_the_fix(path: str, value: Any, key: str, words: str) -> None:
    text = yaml.safe_dump(changed(path, value), sort_keys=False)
    with pytest.raises(SpecError) as refused:
        load_spec(text)
    problems = refused.value.facts["problems"]
    told = {problem["field"]: problem["reason"] for problem in problems}
    assert words in told.get(key, ""), told
    for problem in problems:
        assert not INTERNALS.search(f"{problem['field']} {problem['reason']} {problem['value']}"), problem
        assert 1 <= problem["line"] <= len(text.splitlines())
    assert not INTERNALS.search(refused.value.message)
    assert problems[0]["field"] in refused.value.message


def test_a_value_with_several_forms_is_one_problem() -> None:
    cron = {"when": [{"cron": "60 * * * *"}], "recipe": RECIPE}
    for path, value in (
        ("monitors.windows", 5), ("monitors.false_alarms", 1), ("redact", {"region": [5]}), ("retrain", cron),
    ):  # fmt: skip
        with pytest.raises(SpecError) as refused:
            load_spec(yaml.safe_dump(changed(path, value)))
        assert len(refused.value.facts["problems"]) == 1


def test_the_line_of_the_key_is_told() -> None:
    head = "model: m\ntask: classification\nowner: me\npurpose: p\ncolumns:\n  a: {role: input, type: text}\n"
    text = head + "  b:\n    role: prediction\n    type: catgory\nbaseline: {rows: first 500}\n"
    with pytest.raises(SpecError, match=r"spec field columns.b.type \(line 9\): .*did you mean category"):
        load_spec(text)


TEXTS = [
    ("model: m\nmodel: n\n", r"spec field model \(line 2\): appears twice, on lines 1 and 2"),
    ("columns:\n  a: {role: input}\n  a: {role: input}\n", r"spec field columns.a \(line 3\): appears twice, on "
    r"lines 2 and 3"),
    ('{"model": "m",\n "model": "n"}', "appears twice, on lines 1 and 2"),
    ("model: [", "neither YAML nor JSON: line "),
    ("model: m\n\ttask: x\n", "neither YAML nor JSON: line 2, column 1: "),
    ("columns:\n  no: {role: input, type: text}\n", r"spec field columns \(line 1\): YAML reads a key here as false"),
    ("columns:\n  1: {role: input, type: text}\n", 'put it in quotes, such as "1"'),
    ("", "a spec is a mapping of fields such as `model: support-intents`; got nothing"),
    ("- a\n- b\n", "a spec is a mapping of fields"),
    ("a: &x [*x]\n", "too large"),
    ("[" * 5000, "nested too deeply"),
    (b"\xff\xfe\xfa", "neither YAML nor JSON"),
    ("model: m\n---\nmodel: n\n", "neither YAML nor JSON: line"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), TEXTS, ids=[repr(c[0])[:40] for c in TEXTS])
def test_a_text_that_is_no_spec_says_where(text: str | bytes, message: str) -> None:
    with pytest.raises(SpecError, match=message) as refused:
        load_spec(text)
    assert not INTERNALS.search(refused.value.message)


def test_json_may_be_indented_by_tabs() -> None:
    assert load_spec(json.dumps(traffic.document(), indent="\t")).model == "loans"


def test_a_share_of_rows_may_be_written_as_a_number() -> None:
    document = traffic.document()
    document["monitors"] = {**document["monitors"], "drift": {"floors": {"region": 0.02}}}
    assert load_spec(yaml.safe_dump(document)).monitors.drift.floors == {"region": "0.02"}
