"""A document of any kind as flat tables, for the faces that are read by people and by sheets: HTML and CSV.

It reads plain data in the order of the fields, so that a kind of report that is added later has these faces too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reports.bounds import BOUNDS

Row = dict[str, Any]  # scalars by column
WIDEST: Final = 12  # fields of a record that are columns of their own; a larger one is one cell of JSON
_SECTIONS: Final = "sections"


@dataclass(frozen=True, slots=True)
class FlatTable:
    """`part` names the list of the document, with a dot before what lies within its lines; `title` is for people.

    Attributes:
        left: lines that the document itself does not hold.
        note: which lines it holds, where some are left; a rule in words.
        empty: what is said where there is no line.
    """

    part: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    left: int = 0
    note: str = ""
    empty: str = ""
    text: tuple[str, ...] = field(default=())


def flat_tables(document: Mapping[str, Any]) -> list[FlatTable]:
    """Every list of a document, in its order; first a table `report` of what stands alone, one fact a row."""
    alone = [{"fact": name, "value": value} for name, value in _alone("", document)]
    tables = [FlatTable("report", "Report", ("fact", "value"), tuple(alone))]
    left = {line["part"]: line for line in document.get("bounds") or ()}
    for part, value in document.items():
        if part == _SECTIONS:
            tables += [table for number, one in enumerate(value, 1) for table in _section(number, one)]
        elif part != "bounds":
            tables += _within(part, value, left.get(part))
    return [table for table in tables if table.rows or table.empty or table.text]


def words(name: str) -> str:
    """`kpi.not_judged` as `KPI, not judged`."""
    text = re.sub(r"\bkpi\b", "KPI", name.replace("_", " ").replace(".", ", "))
    return text[:1].upper() + text[1:]


def _alone(path: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Scalars, and lists of scalars, of a record and of the records in it."""
    for name, inner in value.items():
        place = f"{path}{name}"
        if isinstance(inner, Mapping):
            yield from _alone(f"{place}.", inner)
        elif not isinstance(inner, list):
            yield place, inner
        elif inner and not any(isinstance(one, Mapping | list) for one in inner) and len(inner) <= WIDEST:
            yield place, "; ".join(map(str, inner))


def _within(path: str, value: Any, left: Mapping[str, Any] | None = None) -> Iterator[FlatTable]:
    """The tables of a list, and of the lists within a record."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _within(f"{path}.{name}", inner)
    elif isinstance(value, list) and value and all(isinstance(line, Mapping) for line in value):
        yield from _lines(path, value, left)


def _lines(path: str, lines: Sequence[Mapping[str, Any]], left: Mapping[str, Any] | None = None) -> Iterator[FlatTable]:
    rows, deeper = [], dict[str, list[Row]]()
    for number, line in enumerate(lines, 1):
        row: Row = {}
        own = line.get("id") or line.get("run") or line.get("version") or number
        for name, value in line.items():
            if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
                key = path.rpartition(".")[2]
                deeper.setdefault(name, []).extend({key: own, **one} for one in value)
            elif (
                isinstance(value, Mapping)
                and value
                and len(value) <= WIDEST
                and not any(isinstance(one, Mapping | list) for one in value.values())
            ):
                row |= {f"{name}.{inner}": one for inner, one in sorted(value.items())}
            elif isinstance(value, Mapping | list):
                plain = isinstance(value, list) and not any(isinstance(one, list) for one in value)
                row[name] = ("; ".join(map(str, value)) if plain else _json(value)) if value else None
            else:
                row[name] = value
        rows.append(row)
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    more, note = (left["of"] - left["held"], left["rule"]) if left is not None else (0, "")
    if rows and columns:
        yield FlatTable(path, words(path), columns, tuple(rows), more, note)
    for name, found in deeper.items():
        yield from _lines(f"{path}.{name}", found)


def _section(number: int, section: Mapping[str, Any]) -> Iterator[FlatTable]:
    """A section of a report of sections: its sentences, facts and tables."""
    part, title = f"section {number}", str(section["title"])
    facts = tuple(dict(fact) for fact in section.get("facts") or ())
    columns = tuple(dict.fromkeys(name for fact in facts for name in fact))
    said = (*section.get("text", ()), *(f"People must supply: {one}" for one in section.get("supply", ())))
    yield FlatTable(f"{part} facts", title, columns, facts, text=said)
    for place, table in enumerate(section.get("tables") or (), 1):
        names = tuple(str(column["name"]) for column in table["columns"])
        rows = tuple(dict(zip(names, row, strict=True)) for row in table["rows"])
        yield FlatTable(
            f"{part} table {place}", str(table["caption"]), names, rows, table.get("left", 0), table.get("rule", ""),
            empty=table.get("empty", ""),
        )  # fmt: skip


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def printed_of(part: str) -> int:
    """The most lines of a list that a face prints."""
    return BOUNDS[part].printed if part in BOUNDS else 200
