"""A message that brings a report: e-mail carries the PDF, a webhook names the files, a store keeps them all."""

from collections.abc import Sequence
from html import escape
from typing import Final
from uuid import UUID

from monitor.notify import webhook
from monitor.notify.announcement import Announcement, ReportFile, ReportNotice
from monitor.notify.channels import Channel
from monitor.notify.message import Attachment, Message
from monitor.site import Site

KIND: Final = "assay.report.ready"  # of the CloudEvent
MB: Final = 1_000_000


def report_message(site: Site, to: Channel, message_id: UUID, item: Announcement, report: ReportNotice) -> Message:
    """The message about a report, with those of its files that this channel takes."""
    base = site.settings.pages_url
    carried = _carried(site, to, report.files)
    first = f"The {report.kind} report of {item.model}, {report.period}, is ready."
    lines = list(item.context)
    if to.scheme not in webhook.SCHEMES and not to.keeps:
        lines += _pdf_line(report.files, carried, site.settings.notify.attach_mb)
    lines.append("Each download is recorded in the ledger. A bundle proves itself: assay verify BUNDLE --key KEY.")
    links = {"Report": f"{base}/reports/{report.id}"}
    links |= {f.name: f"{base}/api/v1/reports/{report.id}.{f.name.rpartition('.')[2]}" for f in report.files}
    text = "\n".join([first, "", *lines, "", *(f"{name}: {url}" for name, url in links.items()), "",
                      f"Message {message_id}"])  # fmt: skip
    data = {
        "report": str(report.id), "model": item.model, "kind": report.kind, "sentence": first, "notes": lines,
        "period": {"name": report.name, "words": report.period}, "links": links,
        "files": [f.model_dump(mode="json") | {"url": links.get(f.name)} for f in report.files],
    }  # fmt: skip
    shown = "<br>".join(f'{escape(n)}: <a href="{escape(u)}">{escape(u)}</a>' for n, u in links.items())
    html = [f"<p><strong>{escape(first)}</strong></p>", *(f"<p>{escape(line)}</p>" for line in lines)]
    html += [f"<p>{shown}</p>", f"<p><small>Message {message_id}</small></p>"]
    return Message(
        message_id, f"{item.model}: {report.kind} report {report.name}", "info", KIND, f"model:{item.model}", text,
        "\n".join(html), data,
        attachments=tuple(Attachment(f.name, site.artifacts.get(f.digest)) for f in carried), folder=item.model or "",
    )  # fmt: skip


def _carried(site: Site, to: Channel, files: Sequence[ReportFile]) -> list[ReportFile]:
    if to.keeps:
        return list(files)
    if to.scheme in webhook.SCHEMES:
        return []
    most = site.settings.notify.attach_mb * MB
    return [f for f in files if f.name.endswith(".pdf") and f.bytes <= most]


def _pdf_line(files: Sequence[ReportFile], carried: Sequence[ReportFile], attach_mb: float) -> list[str]:
    pdf = next((f for f in files if f.name.endswith(".pdf")), None)
    if pdf is None:
        return ["It has no PDF: its page says why."]
    size = f"{pdf.name}, {pdf.bytes / MB:,.1f} MB,"
    if carried:
        return [f"{size} comes with it where attachments are taken."]
    return [f"{size} is larger than {attach_mb:g} MB, so it is not attached: take the link."]
