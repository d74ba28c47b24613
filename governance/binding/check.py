"""Hold every stored row against what the ledger says of it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy import func, inspect, select
from sqlalchemy.orm import Session

from governance.binding.entries import binding_entries
from governance.binding.stored import stored_rows
from governance.binding.values import bound_tables, table_of
from governance.proof import merkle
from governance.tables import LedgerBinding, LedgerEntry
from governance.verify.findings import Finding
from governance.verify.rows import KINDS, SPLIT, ExpectedRows, Key, RowState, differences, encode, extra, missing

AT_ONCE: Final = 20_000_000  # bytes of leaves, as they are packed, of one part: about 200,000 rows


@dataclass(frozen=True)
class RowsVerdict:
    """`rows` counts those that the ledger knows, `found` those of them that are from before binding began at `since`.

    `about` tells of each finding which row it is about, and to which model it belongs or should belong.
    """

    findings: tuple[Finding, ...] = ()
    rows: int = 0
    found: int = 0
    since: str | None = None  # None: nothing is bound yet
    about: Mapping[Finding, tuple[Key, frozenset[str | None]]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.findings

    def of_model(self, model_id: str) -> tuple[Finding, ...]:
        """The findings that a reader of one model must know: of its rows, and of those that belong to no model."""
        return tuple(
            finding
            for finding in self.findings
            if finding not in self.about or self.about[finding][1] & {model_id, None}
        )


def check_rows(db: Session, at_once: int = AT_ONCE) -> RowsVerdict:
    """Compare all bound tables with the ledger; the ledger itself is verified elsewhere.

    Args:
        at_once: bytes of packed leaves of one round: more rows than they bind are held against the ledger in several.
    """
    tables = bound_tables()
    there = inspect(db.connection())
    if not there.has_table(LedgerBinding.__tablename__):
        return RowsVerdict(_lost_leaves(db))  # without such entries of an earlier release: verifying migrates nothing
    parts = 1 + (db.scalar(select(func.sum(func.length(LedgerBinding.leaves)))) or 0) // at_once
    verdicts = []
    for part in range(parts):
        expected = expected_rows(db, part, parts)
        if expected.since is None and not expected.findings:
            return RowsVerdict()
        checked = _Check(expected)
        for name, mapper in tables.items():
            if there.has_table(name) and (part == 0 or name == SPLIT):
                columns = frozenset(column["name"] for column in there.get_columns(name))
                checked.table(name, stored_rows(db, mapper, columns, partial(expected.mine, name)))
        checked.unread()
        verdicts.append(checked.verdict())
        del expected, checked  # before the next part is read
    return _together(verdicts)


def _together(verdicts: Sequence[RowsVerdict]) -> RowsVerdict:
    """One verdict over all parts; what is wrong with the entries themselves is found in each, and said once."""
    first, *others = verdicts
    findings = [*first.findings, *(f for one in others for f in one.findings if not f.what.startswith("rows."))]
    about = {finding: told for one in verdicts for finding, told in one.about.items()}
    rows, found = sum(one.rows for one in verdicts), sum(one.found for one in verdicts)
    return RowsVerdict(tuple(findings), rows, found, first.since, about)


def _lost_leaves(db: Session) -> tuple[Finding, ...]:
    """Entries that bind rows, in a database without the table of their leaves."""
    count = db.scalar(select(func.count()).select_from(LedgerEntry).where(LedgerEntry.kind.in_(KINDS)))
    name = f"table {LedgerBinding.__tablename__}"
    return (Finding("rows.leaves", name, f"the leaves of {count} entries", "no such table"),) if count else ()


def expected_rows(db: Session, part: int = 0, parts: int = 1) -> ExpectedRows:
    """What all entries together say of each row, or of the rows of one part (`ExpectedRows`)."""
    expected = ExpectedRows(part=part, parts=parts)
    for index, line, leaf, packed in binding_entries(db, KINDS):
        try:
            if merkle.leaf_hash(line.encode()).hex() != leaf:
                expected.findings.append(Finding("rows.entry", f"ledger entry {index}", leaf, "another entry"))
                continue
            entry = json.loads(line)
            expected.add(index, entry["at"], entry["kind"], entry["body"], packed)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            expected.findings.append(Finding("rows.leaves", f"ledger entry {index}", "an entry", str(error)))
    return expected


class _Check:
    def __init__(self, expected: ExpectedRows) -> None:
        self.expected = expected
        self.left = dict(expected.rows)
        self.findings: list[Finding] = list(expected.findings)
        self.about: dict[Finding, tuple[Key, frozenset[str | None]]] = {}

    def table(self, name: str, rows: Iterator[tuple[Key, dict[str, Any]]]) -> None:
        seen: Counter[Key] = Counter()
        for key, values in rows:
            state = self.left.pop(key, None)
            if state is None:
                seen[key] += 1
                self._add(key, extra(key, values), None, values)
            elif state.values != encode(values):
                for finding in differences(key, state, values):
                    self._add(key, finding, state, values)
        for key in [key for key in self.left if key[0] == name]:
            state = self.left.pop(key)
            self._add(key, missing(key, state), state, None)

    def unread(self) -> None:
        """Rows of tables that are not there, or that this process knows no classes of."""
        for key, state in self.left.items():
            if key[0] in bound_tables():
                self._add(key, missing(key, state), state, None)

    def _add(self, key: Key, finding: Finding, state: RowState | None, values: Mapping[str, Any] | None) -> None:
        self.findings.append(finding)
        told = (state.read() if state is not None else None, values)
        self.about[finding] = (key, frozenset(self._model_of(key[0], one) for one in told if one is not None))

    def _model_of(self, table: str, values: Mapping[str, Any]) -> str | None:
        """The model to which a row belongs, by way of the rows that it refers to."""
        for _ in range(5):
            if table == "model":
                return None
            if "model_id" in values:
                owner = values["model_id"]
                return owner if isinstance(owner, str) else None
            found = None
            mapper = bound_tables().get(table)
            for column in table_of(mapper).columns if mapper is not None else ():
                for key in column.foreign_keys:
                    state = self.expected.rows.get((key.column.table.name, str(values.get(column.name))))
                    found = found or (None if state is None else (key.column.table.name, state.read()))
            if found is None:
                return None
            table, values = found
        return None

    def verdict(self) -> RowsVerdict:
        rows = self.expected.rows
        found = sum(state.found for state in rows.values())
        return RowsVerdict(tuple(self.findings), len(rows), found, self.expected.since, self.about)
