"""The kinds of anchors, by how their URL begins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr

from core.errors import InvalidError
from core.settings import CHANNEL_NAME
from governance.anchors.base import Anchor
from governance.anchors.stores import FolderAnchor, ObjectStoreAnchor
from governance.anchors.timestamps import TimestampAnchor
from governance.anchors.webhook import WebhookAnchor

STORES: Final = ("s3", "gs", "gcs", "abfs", "abfss")
_HELP: Final = (
    "write file:///folder, s3://bucket/prefix, webhook+https://host/path, or "
    "rfc3161+https://host/path?certificate=/etc/assay/tsa.pem"
)


def anchors_of(configured: Mapping[str, SecretStr]) -> dict[str, Anchor]:
    """The anchors of the settings, by name.

    Raises:
        InvalidError: a URL is none of an anchor; the message does not repeat it, since it may hold a password.
    """
    for name in configured:
        if not CHANNEL_NAME.fullmatch(name):
            raise InvalidError(
                f"anchors.{name}: an anchor's name has letters, digits, - and _, at most 63, such as VAULT",
                field=f"anchors.{name}",
            )
    return {name: anchor_of(name, url.get_secret_value()) for name, url in configured.items()}


def kind_of(url: str) -> str:
    return urlsplit(url).scheme.partition("+")[0].lower()


def anchor_of(name: str, url: str) -> Anchor:
    """
    Raises:
        InvalidError: the URL is none of an anchor.
    """
    parts = urlsplit(url)
    kind, _, transport = parts.scheme.lower().partition("+")
    if kind == "file" and not transport and parts.path.startswith("/") and not parts.netloc:
        return FolderAnchor(Path(unquote(parts.path)))
    if kind in STORES and not transport and parts.netloc:
        return ObjectStoreAnchor(url)
    if kind in ("webhook", "rfc3161") and transport in ("http", "https") and parts.netloc:
        query = dict(parse_qsl(parts.query))
        certificate = query.pop("certificate", None)
        if kind == "webhook":
            return WebhookAnchor(urlunsplit((transport, parts.netloc, parts.path or "/", parts.query, "")))
        if certificate is None:
            raise InvalidError(
                f"anchors.{name}: an RFC 3161 anchor needs ?certificate=/path.pem, the root of its authority",
                field=f"anchors.{name}",
            )
        target = urlunsplit((transport, parts.netloc, parts.path or "/", urlencode(query), ""))
        return TimestampAnchor(target, Path(certificate))
    raise InvalidError(f"anchors.{name}: this is no address of an anchor; {_HELP}", field=f"anchors.{name}")
