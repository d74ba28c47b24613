"""Try once to deliver a message to a channel: as a signed webhook, through Apprise, or as files of a store."""

import base64
from datetime import datetime

from core.artifacts import content_digest
from core.object_store import StoreError, put_new
from monitor.notify import through_apprise, webhook
from monitor.notify.channels import Channel
from monitor.notify.message import Attachment, Message
from monitor.notify.outcome import Outcome


def send(channel: Channel, message: Message, *, source: str, at: datetime, limit_s: float) -> Outcome:
    """Deliver a message, within the limit.

    Args:
        source: what a CloudEvent names as its source: the address of this installation, or its name.
        at: now.
    """
    url = channel.url.get_secret_value()
    if channel.scheme in webhook.SCHEMES:
        body = webhook.cloud_event(
            id=str(message.id), source=source, kind=message.kind, subject=message.subject, at=at, data=message.data
        )
        return webhook.post(url, str(message.id), body, at=at, limit_s=limit_s)
    if channel.keeps:
        return _keep(url, message)
    chart = base64.b64encode(message.chart).decode() if message.chart is not None else None
    asked = {
        "url": url, "title": message.title, "text": message.text, "html": message.html, "chart": chart,
        "kind": "ended" if message.ended else message.severity,
        "attachments": [{"name": a.name, "content": base64.b64encode(a.content).decode()} for a in message.attachments],
    }  # fmt: skip
    return through_apprise.send(asked, limit_s=limit_s)


def _keep(uri: str, message: Message) -> Outcome:
    """Put the files of a message into a store. What is there already under a name stays; another file gets a mark."""
    files = message.attachments or (Attachment("assay-test.txt", message.text.encode()),)
    try:
        for file in files:
            path = f"{message.folder}/{file.name}" if message.folder else file.name
            found = put_new(uri, path, file.content)
            if found is not None and found != file.content and message.attachments:
                stem, dot, kind = path.rpartition(".")
                put_new(uri, f"{stem}-{content_digest(file.content)[7:15]}{dot}{kind}", file.content)
    except StoreError as error:
        return Outcome(delivered=False, reason=str(error))
    return Outcome(delivered=True)
