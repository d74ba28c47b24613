"""The audit report as PDF/A. The Typst template gets the data and the charts as files, never as joined text."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from core.canonical import sha256
from reports.document import AuditReport
from reports.errors import TypesettingError
from reports.render.printed import printable, shown

TEMPLATE: Final = Path(__file__).parent / "templates" / "audit.typ"
_QUOTED: Final = re.compile("`[^`]*`")
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

    digest = sha256(report.to_bytes())
    try:
        return _compiled(report, charts, digest, plain=False)
    except typst.TypstError:
        pass  # most likely a character without a glyph after all
    try:
        return _compiled(report, charts, digest, plain=True)
    except typst.TypstError as error:
        reason = _QUOTED.sub("`...`", error.message)  # it may quote what users wrote
        raise TypesettingError(f"report {report.report_id} could not be typeset: {reason}") from error


def _compiled(report: AuditReport, charts: Mapping[str, str], digest: str, *, plain: bool) -> bytes:
    import typst

    with tempfile.TemporaryDirectory(prefix="assay-report-") as name:
        folder = Path(name)
        (folder / "audit.typ").write_bytes(TEMPLATE.read_bytes())
        (folder / "report.json").write_text(json.dumps(printable(report, plain=plain)))
        (folder / "facts.json").write_text(json.dumps({"digest": digest, "charts": sorted(charts)}))
        for chart, svg in charts.items():
            (folder / chart).write_text(shown(svg, plain=plain))
        return typst.compile(
            str(folder / "audit.typ"), root=str(folder), ignore_system_fonts=True, pdf_standards=STANDARD,
            timestamp=int(report.created_at.timestamp()),
        )  # fmt: skip
