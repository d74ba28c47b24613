"""A report as one HTML file: no script, nothing from elsewhere; for screens, paper and screen readers."""

import base64
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.bounds import BOUNDS, chosen
from reports.render.flat import FlatTable, flat_tables, printed_of, words
from reports.render.glyphs import unmasked
from reports.render.headings import first_page, heading

TEMPLATES: Final = Path(__file__).parent / "templates"
LONGEST: Final = 700  # characters of one cell, as in the PDF
SHAPES: Final = {
    "held": "●", "not held": "▲", "not yet": "◇", "not measured": "×", "none": "○", "ok": "●", "alarm": "▲",
    "unknown": "×", "pass": "●", "fail": "▲", "not_applicable": "○", "changed": "▲", "fair": "●", "not fair": "▲",
    "cannot say": "×", "inside": "●", "beyond": "▲", "no limit": "○",
}  # fmt: skip
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)")
_NAMES: Final = frozenset(("index", "revision", "number", "entry", "spec_revision", "events_version"))
_FIRST: Final = ("facts", "verdicts", "front", "not_measured")
_LAST: Final = ("report", "ledger", "definitions", "software")


@dataclass(frozen=True, slots=True)
class Shape:
    """One table as the template draws it."""

    name: str  # of its place in the file
    title: str
    text: tuple[Markup, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[Markup, ...], ...]
    numeric: tuple[bool, ...]
    note: str
    empty: str


def html_bytes(document: Mapping[str, Any], digest: str, charts: Mapping[str, str]) -> bytes:
    """One file that shows what the PDF shows; equal input gives equal bytes.

    Args:
        document: the report as plain data, fields in their order.
        digest: of report.json.
        charts: SVG by file name.
    """
    tables = [_shape(number, table) for number, table in enumerate(_ordered(flat_tables(document)))]
    style = (TEMPLATES / "report.css").read_text()
    identity = document["identity"]
    title = f"{document.get('title') or words(document['kind']) + ' report'}: {identity['model']}"
    html = _environment().get_template("report.html").render(
        title=unmasked(title), style=Markup(style), sentence=_said(document.get("sentence") or document["health"]),  # noqa: S704 - our own file
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(), status=document["status"],
        shape=SHAPES.get(document["status"], ""), start=_moment(document["period"]["start"]),
        end=_moment(document["period"]["end"]), digest=digest, tables=tables, report_id=document["report_id"],
        first=[(question, _said(answer)) for question, answer in first_page(document)],
        charts=[(_told(n), base64.b64encode(charts[n].encode()).decode()) for n in sorted(charts, reverse=True)],
    )  # fmt: skip
    return html.encode()


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def _ordered(tables: Sequence[FlatTable]) -> list[FlatTable]:
    """What the first page answers, then the order of the document, then what identifies and defines it."""
    first = [t for name in _FIRST for t in tables if t.part == name or t.part.startswith(f"{name}.")]
    last = [t for name in _LAST for t in tables if t.part == name]
    return [*first, *(t for t in tables if t not in first and t not in last), *last]


def _shape(number: int, table: FlatTable) -> Shape:
    rows, whole = _printed(table), len(table.rows)
    shown = [name for name in table.columns if not (name == "type" and _is_of_facts(table))]
    filled = [name for name in shown if any(row.get(name) not in (None, "") for row in rows)]
    note = f"{len(rows):,} {'line' if len(rows) == 1 else 'lines'}."
    if len(rows) < whole or table.left:
        rule = table.note or (BOUNDS[table.part].rule if table.part in BOUNDS else "the first")
        note = f"{len(rows):,} lines, {rule}, of {whole + table.left:,}; report.json holds {whole:,}."
    return Shape(
        name=f"t{number}", title=unmasked(heading(table.part, table.title)), text=tuple(map(_said, table.text)),
        heads=tuple(unmasked(words(name)) for name in filled),
        rows=tuple(tuple(cell(name, _worded(name, row.get(name))) for name in filled) for row in rows),
        numeric=tuple(
            all(isinstance(row.get(name), int | float | None) and row.get(name) is not True for row in rows)
            for name in filled
        ),
        note=note if rows else "", empty="" if rows else unmasked(table.empty),
    )  # fmt: skip


def _is_of_facts(table: FlatTable) -> bool:
    """Whether the lines are facts, of which `type` says how a value is written."""
    return table.part == "facts" or table.part.endswith(" facts")


def _worded(column: str, value: Any) -> Any:
    return words(value) if column == "fact" else value


def _printed(table: FlatTable) -> list[Mapping[str, Any]]:
    most = printed_of(table.part)
    if table.part not in BOUNDS or len(table.rows) <= most:
        return list(table.rows[:most])
    lines = [SimpleNamespace(**row) for row in table.rows]
    return [vars(line) for line in chosen(lines, most, BOUNDS[table.part].rank)]


def cell(name: str, value: Any) -> Markup:
    """One value as a person reads it, with the exact one beside it where it was rounded; every text is escaped."""
    if value is None:
        return Markup('<span class="none">–</span>')
    if isinstance(value, bool):
        return Markup("yes") if value else Markup("no")
    if isinstance(value, int):
        return Markup(str(value) if name.rpartition("_")[2] in _NAMES else f"{value:,}")  # noqa: S704 - a number
    if isinstance(value, float):
        return Markup('<data value="{}">{}</data>').format(repr(value), rounded(value))
    if _TIME.fullmatch(value):
        return Markup('<time datetime="{}">{}</time>').format(value, _moment(value))
    text = unmasked(value)
    if len(text) > LONGEST:
        text = text[:LONGEST].rstrip() + " […] (cut here, whole in report.json)"
    if value in SHAPES:
        return Markup('<span class="mark">{} {}</span>').format(SHAPES[value], text)
    return Markup("<bdi>{}</bdi>").format(Markup("").join(_coded(text)))


def _said(text: str) -> Markup:
    return Markup("").join(_coded(unmasked(text)))


def _coded(text: str) -> Iterator[Markup]:
    """Names between backticks are set as code."""
    parts = text.split("`")
    for place, part in enumerate(parts):
        yield Markup("<code>{}</code>").format(part) if place % 2 and len(parts) % 2 else escape(part)


def rounded(value: float, digits: int = 3) -> str:
    """As the PDF rounds: to `digits` decimals, of a smaller value one of its own."""
    if value and abs(value) < 10.0**-digits:
        exponent = math.floor(math.log10(abs(value)))
        return f"{round(value / 10.0**exponent, 1)}e{exponent}"
    return f"{value:,.{digits}f}".replace("-", "−")


def _moment(text: str) -> str:
    return f"{text[:10]} {text[11:16]}"


def _told(name: str) -> str:
    if name.startswith("loss-"):
        return f"Training loss by step, run {name[5:13]}; the first and the last value are in the table of runs."
    return "KPI, drift, fairness, volume and label coverage over one time axis; the tables hold the same numbers."
