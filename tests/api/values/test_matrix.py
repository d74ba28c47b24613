"""Physical type x route x role: the value that must be stored, whatever way it takes.

The expected values are in `table.py`, by hand. One route of each form and one case of each kind run in `make test`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from core.errors import InvalidError
from tests.api.values.routes import OF_COLUMNS, OF_JSON, OF_TEXT, OUTCOME_NAMES, ROLES, Route
from tests.api.values.table import CASES, MISFIT, REFUSED, Case, Expected

USUAL_ROUTES: Final = {
    "parquet body",
    "ingest parquet",
    "replay csv",
    "ndjson body",
    "one event a request",
    "replay ndjson",
}
USUAL_CASES: Final = {
    "int64", "float64", "int64 beyond 2^53", "decimal of whole numbers", "bool", "uint64 beyond int64", "dictionary",
    "date32", "large_string", "strings of numbers", "struct",
    "composed and decomposed", "time of day",
}  # fmt: skip


def _cells(routes: Mapping[str, Route], form: str) -> list[Any]:
    return [
        pytest.param(
            case, route, id=f"{name}-{route}",
            marks=() if name in USUAL_CASES and route in USUAL_ROUTES else pytest.mark.slow,
        )
        for name, case in CASES.items() if getattr(case, form) is not None
        for route in routes
    ]  # fmt: skip


def _compare(stored: Mapping[str, Any], kind: str, expected: Expected) -> None:
    for name in ROLES[kind]:
        if name in stored:
            assert list(stored[name]) == list(expected), (kind, ROLES[kind][name], name)


def _kinds(case: Case, word: str) -> list[str]:
    return [kind for kind in ROLES if word in case.expected(kind)]


def _together(send: Route, case: Case, columns: Any, folder: Path) -> None:
    """Send every column whose values all fit, of every type and role, at once."""
    kinds = [kind for kind in ROLES if kind not in _kinds(case, REFUSED) + _kinds(case, MISFIT)]
    if kinds:
        stored = send({name: columns for kind in kinds for name in ROLES[kind]}, folder)
        for kind in kinds:
            _compare(stored, kind, case.expected(kind))


def _apart(send: Route, case: Case, columns: Any, folder: Path, *, file: bool) -> None:
    """Send columns with values that do not fit one by one: their rows are rejected, and the others are stored."""
    for kind in _kinds(case, MISFIT):
        expected = [None if value == MISFIT else value for value in case.expected(kind)]
        for name in ROLES[kind]:
            if file and not any(value is not None for value in expected):
                with pytest.raises(InvalidError, match=f"{name}.* is declared as {kind}"):
                    send({name: columns}, folder)
            elif (stored := send({name: columns}, folder)).keys():  # the reader of small bodies takes no outcomes
                assert list(stored[name]) == expected, (kind, name)


@pytest.mark.parametrize(("case", "route"), _cells(OF_COLUMNS, "values"))
def test_columns_are_stored_as_the_table_says(case: Case, route: str, tmp_path: Path) -> None:
    send = OF_COLUMNS[route]
    _together(send, case, case.values, tmp_path)
    _apart(send, case, case.values, tmp_path, file="body" not in route)
    for kind in _kinds(case, REFUSED):
        for name in ROLES[kind]:
            with pytest.raises(InvalidError) as refused:
                send({name: case.values}, tmp_path)
            assert name in refused.value.message
            assert refused.value.facts["field"] == name


@pytest.mark.parametrize(("case", "route"), _cells(OF_TEXT, "csv"))
def test_cells_of_a_text_file_are_stored_as_the_table_says(case: Case, route: str, tmp_path: Path) -> None:
    assert case.csv is not None
    kinds = [kind for kind in ROLES if kind not in _kinds(case, REFUSED) + _kinds(case, MISFIT)]
    stored = OF_TEXT[route]({name: case.csv for kind in kinds for name in ROLES[kind]}, tmp_path)
    as_written = [cell or None for cell in case.csv]
    for kind in kinds:
        _compare(stored, kind, as_written if kind in ("text", "string") else case.expected(kind))


@pytest.mark.parametrize(("case", "route"), _cells(OF_JSON, "json"))
def test_values_of_json_rows_are_stored_as_the_table_says(case: Case, route: str, tmp_path: Path) -> None:
    """An object or a list among them rejects its row, and the file goes on."""
    _together(OF_JSON[route], case, case.json, tmp_path)
    if case.category == REFUSED:
        for name in (name for of in ROLES.values() for name in of if name not in OUTCOME_NAMES):
            assert OF_JSON[route]({name: case.json}, tmp_path) == {name: [None] * 3}
