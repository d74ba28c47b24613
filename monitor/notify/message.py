"""Compose a message from its announcements: text, HTML, Markdown and the data of a webhook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import shorten
from typing import Any, Final
from uuid import UUID

from monitor.notify.announcement import Announcement, most_severe
from monitor.notify.chart import Picture
from monitor.notify.describe import moment
from monitor.notify.wording import NEXT, headline, next_step, occasion, plain

MOST_SHOWN: Final = 20  # announcements of one message; the others are counted
MAX_TITLE: Final = 180  # characters
LEADING: Final = (
    "silence",
    "drift",
    "kpi",
    "estimate",
    "fairness",
    "volume",
    "quality",
    "outcomes",
    "concept",
    "attribution",
    "system",
)  # monitors, from the one whose sentence says most to a reader
CHART_NAME: Final = "chart.png"


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about the leading alert when a message goes out: sentences as on its page, empty if not known.

    `why`: what drove it. `harm`: did it hurt, and `hurt` as one of yes, by an estimate, no, unknown. `whom`: the
    segments, versions and agents that carry it.
    """

    why: str = ""
    harm: str = ""
    hurt: str = "unknown"
    whom: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel is sent. `id` is the same for every try."""

    id: UUID
    title: str
    severity: str
    kind: str  # of the CloudEvent
    subject: str
    text: str
    html: str
    data: Mapping[str, Any]
    chart: bytes | None = None  # PNG
    attachments: tuple[Attachment, ...] = ()
    folder: str = ""  # in which a channel that keeps files puts them

    @property
    def ended(self) -> bool:
        return self.kind == "assay.incident.resolved"


def compose(
    message_id: UUID, thread: str, items: Sequence[Announcement], *, follows: bool, base_url: str | None,
    chart: Picture | None = None, known: Known | None = None,
) -> Message:  # fmt: skip
    """One message about everything that happened in a thread since the last one.

    Args:
        follows: whether the channel was told about the thread before.
        base_url: of the pages; without it, the message has no links.
        chart: of the leading alert.
        known: about the leading alert.
    """
    known = known or Known()
    lead = leading(items)
    severity = most_severe(*(item.severity for item in items))
    first = plain(headline(lead))
    about = lead.model or "Assay"
    lines = _lines(lead, severity, items, follows=follows, known=known)
    links = _links(lead, base_url)
    more = "Follow-up: " if follows and thread != "digest" else ""
    if thread == "digest":
        first = _digest(items)
        about, lines = "digest", [plain(headline(item)) for item in items[:MOST_SHOWN]]
    others = len(items) - MOST_SHOWN
    lines += [f"And {others} more."] if others > 0 else []
    text = "\n".join([first, "", *lines, "", *(f"{name}: {url}" for name, url in links), "", f"Message {message_id}"])
    data = {
        "severity": severity, "model": lead.model, "sentence": first, "next": next_step(lead.monitor, lead.metric),
        "why": plain(known.why) or None, "harm": {"hurt": known.hurt, "sentence": plain(known.harm) or None},
        "for_whom": plain(known.whom) or None,
        "thread": thread, "follow_up": follows, "links": dict(links),
        "alerts": [_fact(item, base_url) for item in items],
    }  # fmt: skip
    return Message(
        message_id, shorten(f"{more}{about}, {severity}: {first}", MAX_TITLE, placeholder=" …"), severity,
        _kind(thread, items),
        f"model:{lead.model}" if lead.model else "installation", text, _html(first, lines, links, message_id, chart),
        data, chart.png if chart is not None else None,
    )  # fmt: skip


def leading(items: Sequence[Announcement]) -> Announcement:
    """The announcement that a message begins with.

    It is one of the highest severity; among those, what says most to a reader, and then the newest. The end of an
    incident leads if nothing came after it.
    """
    if items[-1].occasion in ("resolved", "withdrawn"):
        return items[-1]
    worst = most_severe(*(item.severity for item in items))
    return max(
        (item for item in items if item.severity == worst),
        key=lambda item: (-LEADING.index(item.monitor) if item.monitor in LEADING else -len(LEADING), item.at),
    )


def _lines(
    lead: Announcement, severity: str, items: Sequence[Announcement], *, follows: bool, known: Known
) -> list[str]:
    if lead.occasion == "test":
        return [f"Severity {severity}. If you can read this, the channel works."]
    lines = [f"{lead.model or 'The installation'}, severity {severity}: {occasion(lead)}."]
    if lead.owner:
        lines[0] += f" Owner {lead.owner}."
    what = lead.sentence.partition("`: ")[2] or lead.sentence.removeprefix("Drift: ")[1:]
    if what.rstrip(".") not in headline(lead):
        lines.append(plain(lead.sentence))  # with the numbers that the headline leaves out
    ended = lead.occasion in ("resolved", "withdrawn")
    if not ended:
        told = ("Did it hurt: ", known.harm), ("For whom: ", known.whom), ("", known.why)
        lines += [f"{start}{plain(said)}" for start, said in told if said]
    lines += [f"{said[:1].upper()}{said[1:]}." for said in lead.context]
    if not ended:
        lines.append(f"What to do next: {plain(next_step(lead.monitor, lead.metric) or NEXT['system'])}")
    others = [item for item in items if item is not lead]
    if others:
        lines.append(f"{'Since the last message' if follows else 'Together with it'}:")
        lines += [f"- {moment(i.at)}, {i.severity}: {plain(headline(i))}" for i in others[-MOST_SHOWN:]]
    return lines


def _digest(items: Sequence[Announcement]) -> str:
    models = len({item.model for item in items})
    worst = most_severe(*(item.severity for item in items))
    many = "1 announcement" if len(items) == 1 else f"{len(items)} announcements"
    return f"{many} about {models} {'model' if models == 1 else 'models'} since the last digest, at most {worst}."


def _links(item: Announcement, base_url: str | None) -> list[tuple[str, str]]:
    found = []
    if base_url is not None and item.alert_id is not None:
        found.append(("Alert", f"{base_url}/alerts/{item.alert_id}"))
        if item.incident_id is not None:
            found.append(("Incident", f"{base_url}/incidents/{item.incident_id}"))
    elif base_url is not None and item.model is not None:
        found.append(("Model", f"{base_url}/models/{item.model}"))
    elif base_url is not None:
        found.append(("Assay", f"{base_url}/channels"))
    if item.runbook is not None:
        found.append(("Runbook", item.runbook))
    return found


def _fact(item: Announcement, base_url: str | None) -> dict[str, Any]:
    document = item.model_dump(mode="json", exclude={"thread", "runbook"})
    return document | {"headline": plain(headline(item)), "links": dict(_links(item, base_url))}


def _kind(thread: str, items: Sequence[Announcement]) -> str:
    if thread == "digest":
        return "assay.digest"
    match items[-1].occasion:
        case "test":
            return "assay.test"
        case "resolved" | "withdrawn":
            return "assay.incident.resolved"
    if items[-1].model is None:
        return "assay.installation"
    return "assay.incident.opened" if items[0].occasion == "opened" else "assay.incident.updated"


def _html(
    first: str, lines: Sequence[str], links: Sequence[tuple[str, str]], message_id: UUID, chart: Picture | None
) -> str:
    body = [f"<p><strong>{escape(first)}</strong></p>"]
    listed = [line[2:] for line in lines if line.startswith("- ")]
    body += [f"<p>{escape(line)}</p>" for line in lines if not line.startswith("- ")]
    if listed:
        body.append("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in listed) + "</ul>")
    if chart is not None:
        body.append(f'<p><img src="cid:{CHART_NAME}" alt="{escape(chart.alt)}" width="560"></p>')
    if links:
        # The address is the text of the link, so that readers of plain text have it too.
        shown = [f'{name}: <a href="{escape(url)}">{escape(url)}</a>' for name, url in links]
        body.append("<p>" + "<br>".join(shown) + "</p>")
    return "\n".join([*body, f"<p><small>Message {message_id}</small></p>"])
