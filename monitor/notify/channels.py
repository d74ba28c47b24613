"""The channels of an installation. Their URLs hold secrets: they stay in the settings, and nothing here shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from core import object_store
from core.errors import InvalidError, NotFoundError
from core.settings import RouteSettings, Settings
from monitor.notify import through_apprise, webhook

# Schemes whose URL names a machine where other schemes have a token. Only these show it.
WITH_HOST: Final = frozenset({"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", *webhook.SCHEMES})


class ChannelNotFoundError(NotFoundError):
    code = "channel_not_found"

    def __init__(self, name: str, known: "list[str]") -> None:
        has = f"there are: {', '.join(known)}" if known else "this installation has none"
        super().__init__(
            f"channel {name[:63]!r} is not set; {has}. Set ASSAY_CHANNELS__{name[:63].upper()} to its URL and restart",
            channel=name[:63],
        )


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to reach people; `url` is secret."""

    name: str
    url: SecretStr
    route: RouteSettings = field(default_factory=RouteSettings)

    @property
    def scheme(self) -> str:
        return self.url.get_secret_value().partition(":")[0].lower()

    @property
    def keeps(self) -> bool:
        """Whether it is a folder or an object store, which keeps reports and is told nothing else."""
        return self.scheme in object_store.SCHEMES

    @property
    def host(self) -> str | None:
        """The machine that is addressed, where the URL names one and not a token."""
        if self.scheme not in WITH_HOST:
            return None
        try:
            return urlsplit(self.url.get_secret_value()).hostname
        except ValueError:
            return None


def channels(settings: Settings) -> Mapping[str, Channel]:
    """Every channel by name."""
    return {
        name: Channel(name, url, settings.routes.get(name, RouteSettings()))
        for name, url in sorted(settings.channels.items())
    }


def channel(settings: Settings, name: str) -> Channel:
    """
    Raises:
        ChannelNotFoundError: no channel has this name.
    """
    found = channels(settings)
    if name not in found:
        raise ChannelNotFoundError(name, list(found))
    return found[name]


def check(settings: Settings) -> None:
    """Refuse channels that could never deliver anything; called when a process starts.

    Raises:
        InvalidError: names the setting and the fix, and never the URL.
    """
    others = {}
    for found in channels(settings).values():
        if found.scheme in webhook.SCHEMES:
            try:
                webhook.target(found.url.get_secret_value())
            except ValueError as error:
                raise InvalidError(f"setting channels.{found.name}: {error}", field=f"channels.{found.name}") from None
        elif found.keeps:
            _check_store(found)
        else:
            others[found.name] = found
    urls = {name: found.url.get_secret_value() for name, found in others.items()}
    for name in through_apprise.unknown(urls) if urls else ():
        raise InvalidError(
            f"setting channels.{name}: Apprise does not understand this {others[name].scheme}:// URL; see its page "
            "about the service for the form, or docs/notifications.md for examples",
            field=f"channels.{name}",
        )


def _check_store(found: Channel) -> None:
    parts = urlsplit(found.url.get_secret_value())
    folder = object_store.folder_of(found.url.get_secret_value())
    if folder is None and not parts.netloc:
        raise InvalidError(
            f"setting channels.{found.name}: the URL names no bucket; write one such as s3://bucket/prefix",
            field=f"channels.{found.name}",
        )
    if folder is not None and (parts.netloc or not folder.is_absolute() or folder == folder.parent):
        raise InvalidError(
            f"setting channels.{found.name}: the URL names no folder; write one such as file:///var/lib/reports",
            field=f"channels.{found.name}",
        )
