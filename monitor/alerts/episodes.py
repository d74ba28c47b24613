"""Episodes: consecutive alarms of one monitor on one scale. A quiet window, judged and without alarm, ends one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

State = Literal["alarm", "quiet", "unjudged"]


@dataclass(frozen=True, slots=True)
class Look:
    """What a monitor said of one window."""

    window: UUID
    scale: str
    from_ts: datetime
    to_ts: datetime
    state: State


@dataclass(frozen=True, slots=True)
class Episode:
    """`ended`: the end of the quiet window after it; None while it lasts."""

    scale: str
    first_window: UUID
    last_window: UUID
    from_ts: datetime
    to_ts: datetime
    windows: int
    ended: datetime | None

    def document(self, **more: Any) -> dict[str, Any]:
        plain = {
            k: v.isoformat() if isinstance(v, datetime) else str(v) if isinstance(v, UUID) else v
            for k, v in asdict(self).items()
        }
        return plain | more


def episodes(looks: Iterable[Look]) -> list[Episode]:
    """Runs of alarms of each scale, by the begin of their first window.

    Args:
        looks: windows of every scale, those of one scale in their order. A window that was not judged neither ends an
            episode nor belongs to it.
    """
    found: list[Episode] = []
    open_at: dict[str, int] = {}  # scale: place in `found` of its running episode
    for look in looks:
        at = open_at.get(look.scale)
        if look.state == "alarm" and at is None:
            open_at[look.scale] = len(found)
            found.append(Episode(look.scale, look.window, look.window, look.from_ts, look.to_ts, 1, None))
        elif look.state == "alarm" and at is not None:
            was = found[at]
            found[at] = Episode(
                was.scale, was.first_window, look.window, was.from_ts, look.to_ts, was.windows + 1, None
            )  # fmt: skip
        elif look.state == "quiet" and at is not None:
            was = found[at]
            found[at] = Episode(
                was.scale, was.first_window, was.last_window, was.from_ts, was.to_ts, was.windows, look.to_ts
            )  # fmt: skip
            del open_at[look.scale]
    return sorted(found, key=lambda e: e.from_ts)


Told = Mapping[str, Any]  # an episode as it was written down


def known_before(episode: Episode, before: Sequence[Told], looks: Sequence[Look]) -> Told | None:
    """The episode of an earlier look that this one continues, widens or is a part of; None for a new one."""
    return next((was for was in before if _overlap(was, episode, looks)), None)


def goes_on(was: Told, found: Sequence[Episode], looks: Sequence[Look]) -> bool:
    """Whether an episode of an earlier look is still there, alone or as a part of one."""
    return any(_overlap(was, episode, looks) for episode in found)


def _overlap(was: Told, episode: Episode, looks: Sequence[Look]) -> bool:
    if was["scale"] != episode.scale:
        return False
    place = {str(look.window): at for at, look in enumerate(looks)}
    start, end = place.get(was["first_window"], -1), place.get(was["last_window"], -1)
    return start <= place[str(episode.last_window)] and end >= place[str(episode.first_window)]
