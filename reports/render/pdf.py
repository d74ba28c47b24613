"""A report as PDF/A and PDF/UA. The Typst templates get the data and the charts as files, never as joined text."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from core.canonical import sha256
from reports.document import AuditReport, EvidenceDocument
from reports.errors import TypesettingError
from reports.render.fonts import FAMILIES, folders
from reports.render.glyphs import Shown
from reports.render.printed import printable, printable_sections

TEMPLATES: Final = Path(__file__).parent / "templates"
# For the archive, and tagged: screen readers follow headings, tables and figures. Typst refuses what is neither.
STANDARDS: Final = ("a-2a", "ua-1")
TRIES: Final = 8  # each tells of one text that a font refuses
_QUOTED: Final = re.compile("`[^`]*`")
_REFUSED: Final = re.compile(r'the text `"(.*?)"` could not be displayed', re.DOTALL)


def typeset(report: EvidenceDocument, charts: Mapping[str, str], *, paper: str = "a4") -> bytes:
    """PDF/A-2a and PDF/UA-1 bytes; equal input gives equal bytes.

    Args:
        report: the document; its digest is printed on the first page.
        charts: SVG by file name.
        paper: of the pages, as Typst names it: `a4` or `us-letter`.

    Raises:
        TypesettingError: Typst refused the template or the data.
    """
    import typst

    digest = sha256(report.to_bytes())
    lacking: set[str] = set()
    for _ in range(TRIES):
        try:
            return _compiled(report, charts, digest, Shown(lacking), paper)
        except typst.TypstError as error:
            refused = _REFUSED.search(error.message)
            if refused is None or not (more := {c for c in refused[1] if c > "~"} - lacking):
                break
            lacking |= more
    try:
        return _compiled(report, charts, digest, Shown(plain=True), paper)
    except typst.TypstError as error:
        reason = _QUOTED.sub("`...`", error.message)  # it may quote what users wrote
        raise TypesettingError(f"report {report.report_id} could not be typeset: {reason}") from error


def _compiled(report: EvidenceDocument, charts: Mapping[str, str], digest: str, fonts: Shown, paper: str) -> bytes:
    import typst

    data = printable(report, fonts) if isinstance(report, AuditReport) else printable_sections(report, fonts)
    with tempfile.TemporaryDirectory(prefix="assay-report-") as name:
        folder = Path(name)
        for template in TEMPLATES.rglob("*.typ"):
            target = folder / template.relative_to(TEMPLATES)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(template.read_bytes())
        (folder / "report.json").write_text(json.dumps(data))
        facts = {"digest": digest, "charts": sorted(charts), "fonts": FAMILIES, "paper": paper}
        (folder / "facts.json").write_text(json.dumps(facts))
        for chart, svg in charts.items():
            (folder / chart).write_text(fonts.text(svg))
        return typst.compile(
            str(folder / template_of(report)), root=str(folder), font_paths=folders(), ignore_system_fonts=True,
            pdf_standards=list(STANDARDS), timestamp=int(report.created_at.timestamp()),
        )  # fmt: skip


def template_of(report: EvidenceDocument) -> str:
    return "audit.typ" if isinstance(report, AuditReport) else "sections.typ"
