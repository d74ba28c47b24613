"""What the forms of reports offer: models, kinds, periods, zones, packs and channels; and what they bring back."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from core.zones import names
from governance.access.roles import Caller
from monitor import store as monitor_store
from monitor.notify.channels import Channel, channels
from monitor.site import Site
from reports.kinds import KINDS, Kind
from reports.periods import NAMES
from reports.regimes.packs import RegimePack, packs

PERIODS: Final = tuple((name, name.replace("-", " ")) for name in NAMES)


@dataclass(frozen=True, slots=True)
class Choices:
    models: list[str]
    kinds: list[Kind]
    periods: tuple[tuple[str, str], ...]
    zones: list[str]
    packs: list[RegimePack]
    channels: list[Channel]


def choices(site: Site, db: Session, caller: Caller) -> Choices:
    return Choices(
        models=[row.name for row in monitor_store.models(db) if caller.sees(row.name)], kinds=list(KINDS.values()),
        periods=PERIODS, zones=sorted(names()), packs=list(packs().values()),
        channels=list(channels(site.settings).values()),
    )  # fmt: skip


def checked(form: dict[str, str], prefix: str) -> list[str]:
    """The names behind the boxes of a form that are checked: their fields begin with a prefix."""
    return [name.removeprefix(prefix) for name in form if name.startswith(prefix)]
