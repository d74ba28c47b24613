"""An anchor that receives each note by HTTP: a POST of the note's text."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from governance.anchors.base import Anchored, AnchorError

LIMIT_S: Final = 15.0


@dataclass(frozen=True)
class WebhookAnchor:
    """The URL of something that keeps what is posted to it; any answer 2xx means that it has."""

    url: str
    all_notes: bool = True
    limit_s: float = LIMIT_S

    def take(self, checkpoint: Anchored) -> None:
        post(self.url, checkpoint.note, "text/plain; charset=utf-8", limit_s=self.limit_s)


def post(url: str, body: bytes, media_type: str, *, limit_s: float = LIMIT_S) -> bytes:
    """The answer to a POST, within bounds of time and bytes.

    Raises:
        AnchorError: none, a redirect, or another answer than 2xx.
    """
    from core.bounded_http import UnreachableError, request  # httpcore2, which only a delivery needs

    headers = {
        "Host": urlsplit(url).netloc.rpartition("@")[2], "Content-Type": media_type, "Content-Length": str(len(body)),
        "User-Agent": "Assay", "Connection": "close",
    }  # fmt: skip
    try:
        answer = request("POST", url, headers, body, limit_s=limit_s)
    except UnreachableError as error:
        raise AnchorError(f"{error}") from None
    if 300 <= answer.status < 400:
        raise AnchorError(f"answered {answer.status}, a redirect, which is not followed; set the address itself")
    if not 200 <= answer.status < 300:
        raise AnchorError(f"answered {answer.status}")
    return answer.body
