"""A text is bounded before it is understood, and JSON is read as JSON."""

import json
import time
import tracemalloc
from typing import Any

import pytest
import yaml

from monitor.metric_names import check_metrics
from monitor.spec.bounds import MAX_COLUMNS
from monitor.spec.parse import SpecError, load_spec, parse_spec
from tests.monitor.spec.test_model import changed

LAYERS = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12))
MERGES = "\n".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 12))
GOOD = changed("model", "m")


def good(**more: Any) -> str:
    return json.dumps(GOOD | more)


# (text, form that the sender names, words of the refusal)
HUGE: dict[str, tuple[str | bytes, Any, str]] = {
    "aliases of lists": (f"l0: &l0 [x]\n{LAYERS}\n", None, "too large"),
    "aliases of lists in columns": (f"l0: &l0 [x]\n{LAYERS}\ncolumns: {{a: *l11}}\n", "yaml", "too large"),
    "merged aliases": (f"m0: &m0 {{k: 1}}\n{MERGES}\n", "yaml", "too large"),
    "an alias as a key": (f"l0: &l0 [x]\n{LAYERS}\n? *l11\n: 1\n", "yaml", "too large"),
    "an alias of itself": ("a: &a [*a]", "yaml", "too large"),
    "a mapping that is its own value": ("&a {b: *a}", "yaml", "too large"),
    "levels of YAML": ("a: " + "[" * 40 + "]" * 40, "yaml", "nested too deeply"),
    "levels of YAML blocks": ("- " * 2000 + "x", "yaml", "nested too deeply"),
    "levels of JSON": ('{"a": ' + "[" * 40 + "]" * 40 + "}", "json", "nested too deeply"),
    "levels beyond all reading": ("[" * 100_000, "json", "nested too deeply"),
    "bytes": (b"# " + b"x" * (1 << 20), "yaml", "larger than 1 MiB"),
    "values of YAML": ("a: [" + "1," * 30_000 + "]", "yaml", "too large"),
    "values of JSON": (good(purpose=[1] * 30_000), "json", "too large"),
    "columns": (
        good(columns={f"c{i}": {"role": "input", "type": "number"} for i in range(MAX_COLUMNS + 1)}), "json",
        f"declare at most {MAX_COLUMNS}",
    ),
    "a text": (good(purpose="x" * 10_001), "json", "10001 characters"),
    "a text in YAML": ("purpose: " + "x" * 10_001, "yaml", "10001 characters"),
    "a name": (good(columns={"x" * 300: {"role": "input", "type": "number"}}), "json", "at most 256"),
    "digits of JSON": ('{"baseline": ' + "1" * 6000 + "}", "json", "6000 digits"),
    "digits of YAML": ("a: 1\nbaseline: " + "1" * 6000, "yaml", "line 2"),
    "hexadecimal digits of YAML": ("baseline: 0x" + "f" * 6000, "yaml", "beyond 2"),
    "a number beyond 2^53": ('{"baseline": 9007199254740993}', "json", "beyond 2"),
    "a number beyond all numbers": ('{"baseline": 1e999}', "json", "finite"),
    "infinity in YAML": ("baseline: .inf", "yaml", "finite"),
    "directives of YAML": (
        "".join(f"%TAG !e{i}! tag:x{i},2000:\n" for i in range(20_000)) + "---\nmodel: m", "yaml", "begin with %",
    ),
    "a tag": ("a: !" + "f" * 900_000 + " 2d", "yaml", "could not determine a constructor"),
    "windows": (good(monitors={"windows": [f"{i}m" for i in range(1, 22)]}), "json", r"monitors.windows: .*at most 20"),
    "KPIs": (good(monitors={"kpi": [{"metric": "accuracy"}] * 8000}), "json", r"monitors.kpi: .*at most 200"),
    "patterns": (
        good(redact={"text": [{"name": f"a{i}", "pattern": rf"[\p{{L}}\p{{N}}]{{1,500}}@{i}"} for i in range(400)]}),
        "json", "redact: has 400 patterns of your own; give at most 20",
    ),
}  # fmt: skip
ODD: dict[str, tuple[str | bytes, Any, str]] = {
    "NaN in JSON": ('{"baseline": NaN}', "json", "NaN"),
    "a key twice in JSON": ('{"model": "m", "model": "n"}', "json", "model.*appears twice"),
    "a key twice below in JSON": ('{"columns": {"a": {}, "a": {}}}', "json", "a.*appears twice"),
    "YAML sent as JSON": ("model: m", "json", "no JSON: line 1, column 1"),
    "a trailing comma in JSON": ('{"model": "m",}', "json", "no JSON"),
    "a date that is none": ("a: 1\nbaseline: 2026-13-45\n", "yaml", "line 2: '2026-13-45' looks like a date"),
    "a time that is none": ("baseline: 2026-01-01T25:00:00Z\n", "yaml", "looks like a date or time"),
    "a list as a key": ("? [a, b]\n: 1\n", "yaml", "line 1: a key is a list or a mapping"),
    "half of a pair": ('{"purpose": "\\ud83d"}', "json", "surrogate"),
    "half of a pair in a name": ('{"columns": {"\\ud83d": 1}}', "json", "surrogate"),
    "half of a pair in YAML": ('purpose: "\\ud83d"', "yaml", "surrogate|escape"),
    "NUL": (good(purpose="a\0b"), "json", r"U\+0000"),
    "NUL in YAML": ('purpose: "a\\0b"', "yaml", r"U\+0000"),
    "an escape in a list": (good(purpose=["\x1b[31m"]), "json", r"purpose\[0\].*U\+001B"),
    "infinity as a text": (good(monitors={"kpi": [{"metric": "accuracy", "min": "1e999"}]}), "json", r"kpi\[0\].min: "),
    "a control character in a name": (good(columns={"a\u0085": 1}), "json", r"columns: .*U\+0085"),
}  # fmt: skip


@pytest.mark.parametrize("case", HUGE)
def test_a_huge_document_is_refused_at_once_and_in_little_memory(case: str) -> None:
    text, form, message = HUGE[case]
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(SpecError, match=message) as refused:
        load_spec(text, form)
    took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 5, "an expansion takes hours; a busy machine with tracing on does not take this long"
    assert peak < 200 << 20
    assert len(str(refused.value)) < 5_000


@pytest.mark.parametrize("case", ODD)
def test_an_odd_document_is_refused_with_its_place(case: str) -> None:
    text, form, message = ODD[case]
    with pytest.raises(SpecError, match=message):
        load_spec(text, form)


@pytest.mark.parametrize("form", [None, "json", "yaml"])
def test_json_is_read_as_json_whoever_sends_it(form: Any) -> None:
    text = good().replace('"purpose": "', '"purpose": "\\ud83d\\ude00 \\/ \\u00e9 ')
    assert load_spec(text, form).purpose.startswith("\N{GRINNING FACE} / é ")
    assert load_spec("\ufeff" + json.dumps(GOOD, indent="\t"), form).model == "m"


def test_yaml_keeps_its_aliases_within_bounds() -> None:
    text = yaml.safe_dump(GOOD).replace("columns:\n", "columns:\n", 1)
    number = "columns: &c\n  a: &n {role: input, type: number}\n  b: *n\n  c: {<<: *n, min: 0}\n"
    rest = {k: v for k, v in GOOD.items() if k not in ("columns", "monitors")} | {"task": "regression"}
    found = load_spec(yaml.safe_dump(rest) + number + "  y: {role: prediction, type: number}\n")
    assert [c.type for c in found.columns.values()] == ["number"] * 4
    assert found.columns["c"].min == 0
    assert load_spec(text).model == "m"


@pytest.mark.parametrize(
    "monitors",
    [
        {"kpi": [{"metric": "x" * 9000}]},
        {"fairness": [{"metric": "x" * 4000, "by": ["g"]}]},
    ],
)
def test_what_a_refusal_quotes_is_short(monitors: dict[str, Any]) -> None:
    columns = GOOD["columns"] | {"g": {"role": "protected", "type": "category"}}
    document = GOOD | {"columns": columns, "monitors": {"windows": ["1d"]} | monitors}
    with pytest.raises(SpecError) as refused:
        check_metrics(load_spec(json.dumps(document)))
    assert "xxx" in refused.value.message
    assert len(refused.value.message) < 1500
    assert all(len(str(part)) < 1500 for problem in refused.value.facts["problems"] for part in problem.values())


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"budget": {"runs_per_day": True}}, "retrain.budget.runs_per_day"),
        ({"when": [{"new_outcomes": True}]}, r"retrain.when\[0\].new_outcomes"),
        ({"envelope": {"max_forgetting": False}}, "retrain.envelope.max_forgetting"),
    ],
)
def test_true_is_no_number(part: dict[str, Any], field: str) -> None:
    retrain = {"when": ["kpi"], "recipe": {"base_model": "./base", "task": "sequence_classification"}} | part
    with pytest.raises(SpecError, match=f"{field}: is (true|false); give a number"):
        load_spec(json.dumps(GOOD | {"retrain": retrain}))
    assert parse_spec(GOOD | {"retrain": retrain}).retrain is not None  # stored by an earlier release
