"""Group consecutive alarms of one monitor and scale into episodes; a window judged without an alarm ends one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

WindowState = Literal["alarm", "quiet", "unjudged"]


@dataclass(frozen=True, slots=True)
class EvaluatedWindow:
    """How one monitor evaluated one window: with an alarm, quietly, or not at all."""

    window: UUID
    scale: str
    from_ts: datetime
    to_ts: datetime
    state: WindowState


@dataclass(frozen=True, slots=True)
class Episode:
    """Consecutive alarms at one scale.

    Attributes:
        ended: end of the quiet window that followed; None while the episode lasts.
    """

    scale: str
    first_window: UUID
    last_window: UUID
    from_ts: datetime
    to_ts: datetime
    windows: int
    ended: datetime | None

    def document(self, **more: Any) -> dict[str, Any]:
        """The episode as JSON, with further fields."""
        plain = {
            k: v.isoformat() if isinstance(v, datetime) else str(v) if isinstance(v, UUID) else v
            for k, v in asdict(self).items()
        }
        return plain | more


def episodes(windows: Iterable[EvaluatedWindow]) -> list[Episode]:
    """Runs of alarms at each scale, in order of the start of their first window.

    Args:
        windows: windows of every scale, those of one scale in order. A window that was not judged neither ends an
            episode nor belongs to one.
    """
    found: list[Episode] = []
    open_at: dict[str, int] = {}  # index in `found` of the running episode of each scale
    for evaluated in windows:
        at = open_at.get(evaluated.scale)
        if evaluated.state == "alarm" and at is None:
            open_at[evaluated.scale] = len(found)
            found.append(
                Episode(
                    evaluated.scale, evaluated.window, evaluated.window, evaluated.from_ts, evaluated.to_ts, 1, None
                )
            )
        elif evaluated.state == "alarm" and at is not None:
            was = found[at]
            found[at] = Episode(
                was.scale, was.first_window, evaluated.window, was.from_ts, evaluated.to_ts, was.windows + 1, None
            )  # fmt: skip
        elif evaluated.state == "quiet" and at is not None:
            was = found[at]
            found[at] = Episode(
                was.scale, was.first_window, was.last_window, was.from_ts, was.to_ts, was.windows, evaluated.to_ts
            )  # fmt: skip
            del open_at[evaluated.scale]
    return sorted(found, key=lambda e: e.from_ts)


AnnouncedEpisode = Mapping[str, Any]  # an episode as the alert stores it


def places(windows: Iterable[EvaluatedWindow]) -> dict[str, int]:
    """Where each window comes among all of them, by its id as text. Episodes are compared by these places."""
    return {str(evaluated.window): at for at, evaluated in enumerate(windows)}


def announced_before(
    episode: Episode, before: Sequence[AnnouncedEpisode], place: Mapping[str, int]
) -> AnnouncedEpisode | None:
    """The stored episode that this one continues, extends or is part of; None for a new one."""
    return next((was for was in before if _overlaps(was, episode, place)), None)


def still_exists(was: AnnouncedEpisode, found: Sequence[Episode], place: Mapping[str, int]) -> bool:
    """Whether a stored episode still exists, alone or as part of another."""
    return any(_overlaps(was, episode, place) for episode in found)


def _overlaps(was: AnnouncedEpisode, episode: Episode, place: Mapping[str, int]) -> bool:
    if was["scale"] != episode.scale:
        return False
    start, end = place.get(was["first_window"], -1), place.get(was["last_window"], -1)
    return start <= place[str(episode.last_window)] and end >= place[str(episode.first_window)]
