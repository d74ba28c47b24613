"""Try once to deliver a message to a channel: as a signed webhook, or through Apprise."""

import base64
from datetime import datetime

from monitor.notify import through_apprise, webhook
from monitor.notify.channels import Channel
from monitor.notify.message import Message
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
    chart = base64.b64encode(message.chart).decode() if message.chart is not None else None
    asked = {
        "url": url, "title": message.title, "text": message.text, "html": message.html, "chart": chart,
        "kind": "ended" if message.ended else message.severity,
    }  # fmt: skip
    return through_apprise.send(asked, limit_s=limit_s)
