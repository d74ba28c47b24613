"""What is printed, bound or signed cannot be changed unseen: a small run of the campaign of `make bench-attack`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.proofs.campaign import Campaign, Outcome
from bench.proofs.installation import Installation, build
from core.db import Base, Bound

ROOT = Path(__file__).resolve().parents[2]
# Tables whose rows a report or a page reads, and that need no binding.
APART = {
    "LedgerEntry": "the ledger itself", "LedgerCheckpoint": "the ledger itself", "LedgerBinding": "the ledger itself",
    "ApiKey": "governance.access.rights", "Person": "governance.access.rights",
    "PageSession": "sealed, and never printed in a report", "UnmappedService": "spans that no model takes",
    "Job": "work that waits", "Lease": "who works",
    "ExplanationBatch": "work under way", "OutboxMessage": "messages that wait; what arrived is in the ledger",
}  # fmt: skip
READERS = ("reports", "api/pages")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = build(tmp_path_factory.mktemp("attacked"))
    yield made
    made.site.close()


def all_found(outcome: Outcome) -> bool:
    assert outcome.missed == []
    assert outcome.unnamed == []
    return outcome.count > 0


def test_one_change_of_each_kind_and_table_is_found_and_named(installation: Installation) -> None:
    assert all_found(Campaign(installation, seed=15).each_kind())


def test_nothing_is_found_where_only_the_service_was_at_work(installation: Installation) -> None:
    assert Campaign(installation, seed=15).untouched(25) == 0


@pytest.mark.slow
def test_a_change_of_every_bound_column_is_found_and_named(installation: Installation) -> None:
    assert all_found(Campaign(installation, seed=15).every_column())


LIVE = {"Run.progress"}  # shown while a process works, and of no weight afterwards
# Columns of these names that rows of other tables have too, and that the certificate of an erasure does not print.
ELSEWHERE = {"Erasure.subject", "Erasure.error", "Erasure.found", "Erasure.steps"}
CLASSES = {mapper.class_.__name__: mapper.class_ for mapper in Base.registry.mappers}


def read_by_name() -> set[str]:
    """Mapped classes that the code of reports and pages names."""
    return {
        alias.name
        for folder in READERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in CLASSES
    }


def test_every_table_that_a_report_or_page_reads_is_bound() -> None:
    read = read_by_name()
    assert {"Window", "Measurement", "Alert", "TriggerDecision", "Run"} <= read
    assert {name for name in read if not issubclass(CLASSES[name], Bound)} - set(APART) == set()


def test_a_column_that_is_not_bound_is_printed_nowhere() -> None:
    """A column is bound unless its table says why not; then no report and no page may read it."""
    printed = [
        path.read_text()
        for folder in READERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".html", ".typ")
    ]
    unbound = {
        (name, column)
        for name in read_by_name()
        if issubclass(CLASSES[name], Bound)
        for column in CLASSES[name].unbound
    }
    found = {f"{name}.{column}" for name, column in unbound if any(f".{column}" in text for text in printed)}
    assert found - LIVE - ELSEWHERE == set()


def test_what_a_table_leaves_unbound_are_columns_of_it() -> None:
    for mapper in Base.registry.mappers:
        if issubclass(mapper.class_, Bound):
            assert set(mapper.class_.unbound) <= set(mapper.columns.keys()), mapper
