"""Keep the faces of a built report, and say of each in the ledger which bytes it has."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from core.canonical import sha256
from core.errors import AppError
from core.logs import logger
from governance.ledger.append import append_entry
from monitor.site import Site
from reports import store
from reports.document import AuditReport, EvidenceDocument, SectionsReport
from reports.lineage.graph import described, node_of_report
from reports.render.csv_face import csv_bytes
from reports.render.html import html_bytes
from reports.render.pdf import typeset
from reports.tables import Report
from retrain.provenance.nodes import Nodes

BUNDLED: Final = ("json", "pdf", "html", "csv")  # the faces, by the end of their name
PDF_FAILED: Final = "pdf_failed"  # key of the reason, beside the digests of the faces
log = logger("reports.record")


def record(site: Site, document: EvidenceDocument, report_id: UUID, charts: Mapping[str, str]) -> None:
    """Keep the files and append `report.created` in one transaction. Only the PDF may be lacking."""
    content = document.to_bytes()
    data = type(document).model_validate_json(content).model_dump(mode="json")  # records in the order of report.json
    faces = {"json": content, "html": html_bytes(data, sha256(content), charts), "csv": csv_bytes(data)}
    pdf, reason = _pdf(site, document, charts)
    if pdf is not None:
        faces["pdf"] = pdf
    files: dict[str, Any] = {face: site.artifacts.put(one) for face, one in faces.items()}
    files["charts"] = {name: site.artifacts.put(svg.encode()) for name, svg in charts.items()}
    if reason is not None:
        files[PDF_FAILED] = reason
    with site.database.write() as db:
        row = store.report(db, report_id, lock=True)
        if (row.files or {}).get("json"):
            return  # another worker was faster; its entry counts
        model = store.model_of(db, row.model_id)
        node = node_of_report(row, model, described(row, Nodes.of(db, model)), files["json"])
        files["ledger_index"] = append_entry(
            db, kind="report.created", actor=row.requested_by, at=site.clock.now(),
            subject=f"model:{document.identity.model}",
            body={
                "report": row.id, "model": document.identity.model, "kind": row.kind,
                "subject": row.subject,
                **{"sha256" if face == "json" else f"{face}_sha256": sha256(one) for face, one in faces.items()},
                "charts": files["charts"], "period": {"from": row.period_from, "to": row.period_to}, **node.entry(),
            },
        )  # fmt: skip
        row.files, row.error = files, None


def _pdf(site: Site, document: EvidenceDocument, charts: Mapping[str, str]) -> tuple[bytes | None, str | None]:
    """The PDF, or why there is none: the other faces do not wait for it."""
    try:
        return typeset(document, charts, paper=site.settings.reports.paper), None
    except Exception as error:  # whatever the typesetter says, the evidence itself is gathered
        log.exception("a report could not be typeset", report=document.report_id)
        return None, (error.message if isinstance(error, AppError) else type(error).__name__)[:500]


def typeset_again(site: Site, row: Report) -> None:
    """Try once more to make the PDF of a report that has its other faces; an entry of its own holds its digest."""
    assert row.files is not None
    shape = AuditReport if row.kind == "audit" else SectionsReport
    document = shape.model_validate_json(site.artifacts.get(row.files["json"]))
    charts = {name: site.artifacts.get(one).decode() for name, one in row.files["charts"].items()}
    pdf, reason = _pdf(site, document, charts)
    with site.database.write() as db:
        row = store.report(db, row.id, lock=True)
        files = {name: value for name, value in (row.files or {}).items() if name != PDF_FAILED}
        if pdf is None:
            row.files = files | {PDF_FAILED: reason}
        elif "pdf" not in files:
            index = append_entry(
                db, kind="report.typeset", actor=row.requested_by, at=site.clock.now(),
                subject=f"model:{document.identity.model}", body={"report": row.id, "pdf_sha256": sha256(pdf)},
            )  # fmt: skip
            row.files = files | {"pdf": site.artifacts.put(pdf), "pdf_index": index}


def lacking_words(files: Mapping[str, Any]) -> str | None:
    """What is said of a report that is ready without its PDF."""
    reason = files.get(PDF_FAILED)
    return None if reason is None else f"PDF failed: {reason}; the other faces are there, and it can be tried again"


def cited(files: Mapping[str, Any], members: Mapping[str, bytes]) -> dict[str, int]:
    """The entry that holds the digest of each face and chart in a bundle."""
    index = int(files["ledger_index"])
    found = {path: index for path in members if path.startswith(("report.", "charts/"))}
    return found | ({"report.pdf": int(files["pdf_index"])} if "pdf_index" in files else {})
