"""Catalogues: every file is listed in its table, and every public numeric function states what it reads and returns."""

import ast
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ALL_PARTS = ("Args:", "Returns:", "Source:")


@dataclass(frozen=True)
class Catalogue:
    """A folder and the table in its `__init__.py`.

    `support` names the files that hold no entry. `numeric` names the fields of an entry that hold numeric functions,
    whose docstrings have the `parts`.
    """

    folder: str
    table: str
    support: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    parts: tuple[str, ...] = ALL_PARTS

    @property
    def entries(self) -> dict[str, Any]:
        return dict(getattr(import_module(self.folder.replace("/", ".")), self.table))


CATALOGUES = (
    Catalogue("monitor/drift", "METHODS", ("base", "score"), ("compute", "expected")),
    Catalogue("monitor/drift/rows", "ROW_METHODS", ("base",), ("compute",)),
    Catalogue("monitor/drift/texts", "TEXT_METHODS", ("base",), ("compute",)),
    Catalogue(
        "monitor/estimate", "ESTIMATORS", ("base", "boosting", "curves", "expected", "matching", "trees"), ("fit",)
    ),
    Catalogue(
        "monitor/explain", "EXPLAINERS", ("agreement", "answers", "base", "lime", "owen", "segments"), ("compute",)
    ),
    Catalogue(
        "monitor/fairness", "FAIRNESS",
        ("bounds", "cells", "comparisons", "counts", "counts_codec", "estimates", "families", "grouping", "intervals",
         "lasting", "membership", "multiplicity", "numbers", "positive", "rates", "result", "sequential", "shrinkage",
         "unknown_members", "values"),
        ("compute",),
    ),
    Catalogue(
        "monitor/kpi", "KPIS",
        ("base", "bounds", "confusion", "decompose", "expression", "intervals", "references", "scores", "texts",
         "vocabularies"),
        ("compute",),
    ),
    Catalogue("monitor/kpi/classification", "KPIS", (), ("compute",)),
    Catalogue("monitor/kpi/generation", "KPIS", (), ("compute",)),
    Catalogue("monitor/kpi/operations", "KPIS", (), ("compute",)),
    Catalogue("monitor/kpi/regression", "KPIS", (), ("compute",)),
    Catalogue(
        "monitor/quality", "QUALITY", ("base", "named", "silence", "volume"), ("learn", "flag"), ("Args:", "Returns:")
    ),
    Catalogue("monitor/redact", "PATTERNS", ("base", "columns", "own", "presidio", "rules")),
    Catalogue(
        "retrain/evals", "EVALS",
        ("base", "changed_texts", "compared", "config", "explain", "explain_files", "explain_rows", "flips",
         "integrity", "mean_difference", "paired", "paired_score", "predict", "preference", "probe_rows", "probes",
         "run", "tabular", "written"),
        ("compute",),
    ),
    Catalogue("retrain/gates", "GATES", ("base", "labels", "non_inferiority", "power")),
    Catalogue("retrain/triggers", "TRIGGERS", ("base", "budget", "decision")),
)  # fmt: skip
FOLDERS = pytest.mark.parametrize("catalogue", CATALOGUES, ids=[c.folder for c in CATALOGUES])

# Folders of the catalogues that hold no table: detectors with a state.
WITHOUT_TABLE = {"monitor/drift/stream", "monitor/fairness/causes", "monitor/explain/tables"}
NUMERIC = ("drift", "estimate", "explain", "fairness", "kpi", "quality")
NUMBERS = {
    "float", "Floats", "Ints", "Flags", "BinaryRows", "Confusion", "Estimate", "FairnessValue", "FaultCounts",
    "Graded", "KpiValue", "Rise", "TextExplanation", "Trees", "Volume",
}  # fmt: skip


def function(value: object) -> Any:
    """The function behind an entry's field, which may fix some of its arguments."""
    return value.func if isinstance(value, partial) else value


def functions(entry: Any) -> Iterator[Any]:
    for field in fields(entry):
        value = function(getattr(entry, field.name))
        if callable(value) and hasattr(value, "__module__"):
            yield value


def unlisted(catalogue: Catalogue, root: Path = ROOT) -> set[str]:
    """Files of a catalogue that neither hold an entry of its table nor are named as support."""
    package = catalogue.folder.replace("/", ".")
    listed = {
        f.__module__.removeprefix(f"{package}.") for entry in catalogue.entries.values() for f in functions(entry)
    }
    files = {path.stem for path in (root / catalogue.folder).glob("*.py")} - {"__init__"}
    return files - listed - set(catalogue.support)


@FOLDERS
def test_every_file_of_a_catalogue_is_listed_in_its_table(catalogue: Catalogue) -> None:
    assert catalogue.entries, f"{catalogue.folder}/__init__.py lists nothing in {catalogue.table}"
    assert all(entry.name == name for name, entry in catalogue.entries.items())
    assert not unlisted(catalogue), f"in {catalogue.folder}, but neither in {catalogue.table} nor named as support"
    assert all((ROOT / catalogue.folder / f"{name}.py").exists() for name in catalogue.support)


@FOLDERS
def test_a_file_that_is_not_listed_is_found(catalogue: Catalogue, tmp_path: Path) -> None:
    shutil.copytree(ROOT / catalogue.folder, tmp_path / catalogue.folder)
    (tmp_path / catalogue.folder / "planted.py").write_text('ENTRY = Entry(name="planted")\n')
    assert unlisted(catalogue, tmp_path) == {"planted"}


def test_every_folder_of_the_catalogues_is_under_the_rule() -> None:
    tops = {catalogue.folder.split("/")[1] for catalogue in CATALOGUES if catalogue.folder.startswith("monitor/")}
    found = {str(p.parent.relative_to(ROOT)) for top in tops for p in (ROOT / "monitor" / top).rglob("__init__.py")}
    ruled = {catalogue.folder for catalogue in CATALOGUES if catalogue.folder.startswith("monitor/")}
    assert found == ruled | WITHOUT_TABLE


@FOLDERS
def test_the_functions_of_an_entry_state_arguments_value_and_source(catalogue: Catalogue) -> None:
    silent = [
        f"{name}.{field} lacks {part}"
        for name, entry in catalogue.entries.items()
        for field in catalogue.numeric
        if (found := function(getattr(entry, field))) is not None
        for part in catalogue.parts
        if part not in (found.__doc__ or "")
    ]
    assert not silent


def undocumented(text: str) -> list[str]:
    """Public functions of a module that return numbers, take arguments, and do not state both."""
    found = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or node.returns is None:
            continue
        names = {n.id for n in ast.walk(node.returns) if isinstance(n, ast.Name)}
        doc = ast.get_docstring(node) or ""
        if names & NUMBERS and not all(part in doc for part in ("Args:", "Returns:")):
            found.append(node.name)
    return found


def test_every_public_numeric_function_of_the_catalogues_states_arguments_and_value() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for folder in NUMERIC
        for path in sorted((ROOT / "monitor" / folder).rglob("*.py"))
        if (names := undocumented(path.read_text()))
    }
    assert not found


def test_a_numeric_function_without_a_docstring_is_found() -> None:
    text = '"""A module."""\n\n\ndef area(x: Floats) -> float:\n    """An area."""\n    return 1.0\n'
    assert undocumented(text) == ["area"]
    documented = text.replace("An area.", "An area.\n\n    Args:\n        x: it.\n\n    Returns:\n        It.")
    assert not undocumented(documented)
