"""docs/catalogue.md lists every KPI, fairness metric and drift statistic with the facts of its entry, and no other."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from monitor.drift import METHODS, Method
from monitor.drift.rows import ROW_METHODS, RowMethod
from monitor.drift.texts import TEXT_METHODS, TextMethod
from monitor.fairness import FAIRNESS, Fairness
from monitor.kpi import KPIS, Kpi
from monitor.metric_names import check_metrics
from monitor.quality import QUALITY
from monitor.quality.base import QualityCheck
from tests.monitor.traffic import document, spec

PAGE = (Path(__file__).parents[2] / "docs/catalogue.md").read_text()
SECTIONS = {
    section.partition("\n")[0]: dict(re.findall(r"^### (\S+)\n\n(.*?)(?=^### |\Z)", section, re.M | re.S))
    for section in PAGE.split("\n## ")[1:]
}
Entry = Kpi | Fairness | Method | RowMethod | TextMethod | QualityCheck
TABLES: dict[str, Mapping[str, Entry]] = {
    "KPIs": KPIS, "Fairness": FAIRNESS, "Drift statistics of a column": METHODS,
    "Drift statistics of raw rows": ROW_METHODS,
    "Drift statistics of a text": TEXT_METHODS,
    "Data quality": QUALITY,
}  # fmt: skip
ENTRIES = [(title, name) for title, table in TABLES.items() for name in table]


def facts(entry: Entry) -> str:
    if isinstance(entry, QualityCheck):
        return f"Unit: share of rows; reads {', '.join(entry.types) or entry.scope}."
    if isinstance(entry, Kpi):
        better = {True: "higher is better", False: "lower is better", None: "neither direction is better"}[
            entry.higher_is_better
        ]
        tasks = "any task" if len(entry.tasks) == 3 else ", ".join(entry.tasks)
        named = f"a named {' or '.join(entry.column_types)} column"
        reads = ", ".join(named if part == "column" else part for part in entry.reads)
        return f"Unit: {entry.unit}; {better}; {tasks}; reads {reads}."
    if isinstance(entry, Fairness):
        better = "higher is better" if entry.higher_is_better else "lower is better"
        reads = ", ".join(["prediction", *sorted(entry.needs, reverse=True)])
        return f"Unit: {entry.unit}; {better}; {entry.task}; reads {reads}."
    if isinstance(entry, TextMethod):
        return f"Unit: {entry.unit}; reads {entry.derived}."
    if isinstance(entry, Method):
        return f"Unit: {entry.unit}; {entry.input}."
    return f"Unit: {entry.unit}; {entry.unchanged:g} without drift."


def test_the_page_has_a_heading_for_every_entry_in_order_and_no_other() -> None:
    assert set(SECTIONS) == {*TABLES, "Volume"}
    for title, table in TABLES.items():
        assert list(SECTIONS[title]) == sorted(table), title


@pytest.mark.parametrize(("title", "name"), ENTRIES, ids=[name for _, name in ENTRIES])
def test_an_entry_says_unit_direction_definition_when_undefined_and_source(title: str, name: str) -> None:
    said, definition, ends = SECTIONS[title][name].strip().split("\n\n")
    assert said == facts(TABLES[title][name])
    assert definition.endswith(".")
    assert re.fullmatch(r"- Undefined: .+\.\n- Source: .+\.", ends)


def test_the_examples_of_the_page_are_specs() -> None:
    examples = [yaml.safe_load(found) for found in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]
    assert len(examples) == 3
    more = {"cost_usd": {"role": "measure", "type": "number"}, "resolved": {"role": "measure", "type": "category"}}
    for example in examples:
        monitors = document()["monitors"] | example["monitors"]
        check_metrics(spec(columns=document()["columns"] | more | example.get("columns", {}), monitors=monitors))
