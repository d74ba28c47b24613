"""Rows that the ledger binds: the leaves under an entry's root, and what all of them say that each row must be.

A leaf is one line of text: `OP TABLE ID JSON`.

| op | JSON | meaning |
|---|---|---|
| `+` | values by column | a row was added |
| `~` | `[before, after]` by column | columns of a row were changed |
| `-` | `{}` | a row was removed |
| `=` | values by column | what a row holds from here on: as found when binding began, or restated after an erasure |
| `#` | leaf hash | a leaf whose content was erased; a later `=` or `-` says how it goes on |

The root of an entry is the RFC 6962 root over the leaves as they were written, so an erased leaf keeps its place.
"""

import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from governance.proof import merkle
from governance.verify.findings import Finding

BOUND: Final = "rows.bound"  # what one transaction changed
FOUND: Final = "rows.found"  # rows from before binding began, or columns from before they were bound
RESTATED: Final = "rows.restated"  # rows as they are to be after an erasure
KINDS: Final = (BOUND, FOUND, RESTATED)
ADDED, CHANGED, REMOVED, STATED, WITHHELD = "+~-=#"
MAX_SHOWN: Final = 120  # characters of a value in a finding
MAX_ROW: Final = 600  # and of a row
MAX_UNPACKED: Final = 1 << 30

Key = tuple[str, str]  # table and id


@dataclass(frozen=True, slots=True)
class RowState:
    """What the ledger says of one row: its values as JSON, and the entry that last said something of it.

    `withheld`: an erasure took its values, and nothing has restated them. `found`: it is from before binding began.
    """

    values: str
    entry: int
    withheld: bool = False
    found: bool = False

    def read(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.values)
        return document


SPLIT: Final = "measurement"  # the table with most rows by far; its rows name their model, and no row refers to them


@dataclass
class ExpectedRows:
    """Every row as the ledger says it must be, and what does not hold in the leaves themselves.

    Attributes:
        part, parts: which share of the rows of `SPLIT` is taken in, so that a large installation is held against its
            ledger in several rounds of bounded memory. All other rows are taken in by part 0.
    """

    rows: dict[Key, RowState] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    since: str | None = None  # when binding began
    entries: int = 0
    part: int = 0
    parts: int = 1

    def mine(self, table: str, ident: str) -> bool:
        """Whether a row belongs to this part."""
        if self.parts == 1:
            return True
        return (zlib.crc32(ident.encode()) % self.parts if table == SPLIT else 0) == self.part

    def add(self, index: int, at: str, kind: str, body: Mapping[str, Any], packed: bytes | None) -> None:
        """Take in one entry of `KINDS`, in order of the log, with the leaves stored for it."""
        where = f"ledger entry {index}"
        if packed is None:
            self.findings.append(Finding("rows.leaves", where, f"{body.get('leaves')} leaves", "none are stored"))
            return
        try:
            lines = unpack(packed)
            root = merkle.root([hash_of(line) for line in lines]).hex()
            if root != body["root"] or len(lines) != body["leaves"]:
                found = f"{len(lines)} leaves with root {root}"
                expected = f"{body['leaves']} leaves with root {body['root']}"
                self.findings.append(Finding("rows.leaves", where, expected, found))
                return
            for line in lines:
                self.take(index, kind, line)
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            self.findings.append(Finding("rows.leaves", where, "leaves that can be read", f"{error}"[:MAX_SHOWN]))
            return
        self.entries += 1
        if kind == FOUND and self.since is None:
            self.since = at

    def take(self, index: int, kind: str, line: str) -> None:
        """Take in one leaf."""
        op, table, ident, values = line.split(" ", 3)
        if not self.mine(table, ident):
            return
        key = (sys.intern(table), ident)
        known = self.rows.get(key)
        match op:
            case "+":
                self.rows[key] = RowState(values, index)
            case "=":
                old = known.read() if known is not None and not known.withheld else {}
                merged = encode(dict(sorted({**old, **json.loads(values)}.items()))) if old else values
                found = kind == FOUND and (known is None or known.found)
                self.rows[key] = RowState(merged, index, found=found)
            case "-":
                self.rows.pop(key, None)
            case "#":
                self.rows[key] = RowState("{}", index, withheld=True)
            case "~" if known is not None and not known.withheld:
                self._change(index, key, known, json.loads(values))
            case "~":
                pass  # of a row that is unknown, which is found as such, or withheld
            case _:
                raise ValueError(f"a leaf begins with {op!r}")

    def _change(self, index: int, key: Key, known: RowState, changes: Mapping[str, list[Any]]) -> None:
        values = known.read()
        for column, pair in changes.items():
            before, after = pair if len(pair) == 2 else (values.get(column), pair[0])
            if not same(values.get(column), before):
                expected = f"{column} {shown(values.get(column))} (entry {known.entry})"
                found = f"{column} {shown(before)} when entry {index} was written"
                self.findings.append(Finding("row.changed", f"{key[0]} {key[1]}", expected, found))
            values[column] = after
        self.rows[key] = RowState(encode(dict(sorted(values.items()))), index, found=known.found)


def differences(key: Key, state: RowState, found: Mapping[str, Any]) -> Iterator[Finding]:
    """What a stored row holds otherwise than the ledger says, column by column.

    Args:
        found: values of the columns that are bound today; a column that the ledger does not name must be null.
    """
    where = f"{key[0]} {key[1]}"
    if state.withheld:
        yield Finding("row.withheld", where, "an entry that restates it", f"leaves erased up to entry {state.entry}")
        return
    values = state.read()
    for column, value in found.items():
        if not same(values.get(column), value):
            expected = f"{column} {shown(values.get(column))} (entry {state.entry})"
            yield Finding("row.changed", where, expected, f"{column} {shown(value)}")


def missing(key: Key, state: RowState) -> Finding:
    return Finding("row.missing", f"{key[0]} {key[1]}", f"the row of entry {state.entry}{_about(state)}", "no such row")


def extra(key: Key, found: Mapping[str, Any]) -> Finding:
    told = {name: value for name, value in found.items() if value not in (None, "", [], {})}
    return Finding("row.extra", f"{key[0]} {key[1]}", "an entry that adds it", f"a row with {shown(told, MAX_ROW)}")


def _about(state: RowState) -> str:
    told = {} if state.withheld else {k: v for k, v in state.read().items() if v not in (None, "", [], {})}
    return f" with {shown(told, MAX_ROW)}" if told else ""


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1, and 1.0 is 1 only where both are numbers of the same kind."""
    return one is other or encode(one) == encode(other)


def shown(value: Any, limit: int = MAX_SHOWN) -> str:
    text = encode(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


def encode(value: Any) -> str:
    """ASCII text of a JSON value; keys keep their order, which a document in the database has too."""
    return _ENCODER.encode(value)


def hash_of(line: str) -> bytes:
    """The leaf hash of a line; of an erased one, that which it had."""
    if line.startswith("# "):
        return bytes.fromhex(line.rsplit(" ", 1)[1])
    return merkle.leaf_hash(line.encode())


def pack(lines: Iterable[str]) -> bytes:
    return zlib.compress("\n".join(lines).encode(), 1)


def unpack(packed: bytes) -> list[str]:
    """
    Raises:
        zlib.error, ValueError: it is not what `pack` made.
    """
    reader = zlib.decompressobj()
    text = reader.decompress(packed, MAX_UNPACKED)
    if not reader.eof or reader.unused_data:
        raise ValueError("the leaves are cut short or go on too long")
    return text.decode().split("\n") if text else []
