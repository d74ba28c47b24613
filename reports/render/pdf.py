"""The audit report as PDF/A. The Typst template gets the data and the charts as files, never as joined text."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from core.canonical import sha256
from reports.document import AuditReport
from reports.errors import TypesettingError
from reports.render.printed import printable

TEMPLATE: Final = Path(__file__).parent / "templates" / "audit.typ"
STANDARD: Final = "a-2a"  # tagged, so that screen readers can follow headings, tables and figures


def typeset(report: AuditReport, charts: Mapping[str, str]) -> bytes:
    """PDF/A-2a bytes; equal input gives equal bytes.

    Args:
        report: the document; its digest is printed on the first page.
        charts: SVG by file name.

    Raises:
        TypesettingError: Typst refused the template or the data.
    """
    import typst

    document = report.to_bytes()
    with tempfile.TemporaryDirectory(prefix="assay-report-") as name:
        folder = Path(name)
        (folder / "audit.typ").write_bytes(TEMPLATE.read_bytes())
        (folder / "report.json").write_text(json.dumps(printable(report)))
        facts = {"digest": sha256(document), "charts": sorted(charts)}
        (folder / "facts.json").write_text(json.dumps(facts))
        for chart, svg in charts.items():
            (folder / chart).write_text(svg)
        try:
            return typst.compile(
                str(folder / "audit.typ"), root=str(folder), ignore_system_fonts=True, pdf_standards=STANDARD,
                timestamp=int(report.created_at.timestamp()),
            )  # fmt: skip
        except typst.TypstError as error:
            raise TypesettingError(f"report {report.report_id} could not be typeset: {error.message}") from error
