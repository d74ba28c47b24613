"""Send one message through Apprise, in a process of its own that can be ended whatever the receiver does.

Reads one JSON document from standard input, `send` or `check`, and writes one to standard output. The URL comes in that
way because the arguments and the environment of a process can be seen from outside.
"""

import base64
import json
import logging
import re
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

MEMORY_BYTES: Final = 2 << 30  # address space; an answer without an end must not fill the machine
CHART_NAME: Final = "chart.png"
_STATUS: Final = re.compile(r"error=(\d{3})\b")


class _Heard(logging.Handler):
    """Listens to what Apprise logs, which may hold parts of the URL: only a status code is taken from it."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[str] = []
        self.unreachable = False

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.statuses += _STATUS.findall(text)
        self.unreachable = self.unreachable or "onnection error" in text

    @property
    def reason(self) -> str:
        if self.statuses:
            status = self.statuses[-1]
            redirect = ", a redirect, which is not followed; set its address"
            return f"answered {status}" + (redirect if status.startswith("3") else "")
        return "no connection, or it broke off" if self.unreachable else "not accepted"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    document: dict[str, Any] = json.load(sys.stdin)
    heard = _Heard()
    logging.disable(logging.NOTSET)
    for name in ("apprise", "urllib3", "requests"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [heard] if name == "apprise" else [logging.NullHandler()], False
    if "check" in document:
        json.dump({"unknown": [name for name, url in document["check"].items() if not _known(url)]}, sys.stdout)
        return
    try:
        delivered = _send(document["send"])
        reason = "" if delivered else heard.reason
    except MemoryError:
        delivered, reason = False, "its answer has no end"
    json.dump({"delivered": delivered, "reason": reason}, sys.stdout)


def _known(url: str) -> bool:
    import apprise

    return apprise.Apprise.instantiate(url) is not None


def _send(asked: dict[str, Any]) -> bool:
    import apprise

    asset = apprise.AppriseAsset(app_id="Assay", app_desc="Assay", app_url="", http_redirects=False, async_mode=False)
    plugin = apprise.Apprise.instantiate(asked["url"], asset=asset)
    if plugin is None:
        return False
    if hasattr(plugin, "inline"):  # e-mail: the HTML refers to the chart
        plugin.inline = asked["chart"] is not None
    formats: Any = plugin.notify_format  # one or several, the preferred first
    html = (formats[0] if isinstance(formats, tuple) else formats) == apprise.NotifyFormat.HTML
    target = apprise.Apprise(asset=asset)
    target.add(plugin)
    with tempfile.TemporaryDirectory(prefix="assay-message-") as folder:
        files = [{"name": CHART_NAME, "content": asked["chart"]}] if asked["chart"] is not None else []
        attached = None
        for file in [*files, *asked["attachments"]] if plugin.attachment_support else ():
            path = Path(folder) / Path(file["name"]).name
            path.write_bytes(base64.b64decode(file["content"]))
            attached = attached or apprise.AppriseAttachment(asset=asset)
            attached.add(str(path))
        kinds = {"info": "info", "warning": "warning", "critical": "failure", "ended": "success"}
        return bool(
            target.notify(
                body=asked["html"] if html else asked["text"], title=asked["title"],
                notify_type=apprise.NotifyType(kinds[asked["kind"]]),
                body_format=apprise.NotifyFormat.HTML if html else apprise.NotifyFormat.TEXT, attach=attached,
            )
        )  # fmt: skip


if __name__ == "__main__":
    main()
