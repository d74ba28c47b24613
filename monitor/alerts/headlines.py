"""What an alert has told about one occurrence, and whether an alarm is worse than all of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from monitor.alerts.severity import Severity, rank
from monitor.tables import Alert

ToldEpisode = Mapping[str, Any]  # an episode as the alert stores it, with its `headlines`


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of one monitor in one window.

    `column`: the one that changed most certainly; "" where it is about none, or about many. `columns`: those that the
    sentence names.
    """

    monitor: str
    metric: str
    column: str
    value: float | None
    limit: float | None
    sentence: str
    severity: Severity = "warning"
    columns: tuple[str, ...] = ()

    def headline(self, at: datetime, window: UUID | None) -> dict[str, Any]:
        """The alarm as it is told, as JSON."""
        plain = asdict(self) | {"columns": sorted({*self.columns, self.column} - {""})}
        del plain["monitor"], plain["metric"]
        return {"at": at.isoformat(), "window": None if window is None else str(window), **plain}


def is_worse(alarm: Alarm, told: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an alarm is a step more severe than every headline, or led by a column that none of them names."""
    if rank(alarm.severity) > max(rank(headline["severity"]) for headline in told):
        return True
    return bool(alarm.column) and all(alarm.column not in headline["columns"] for headline in told)


def headlines_of(episodes: Iterable[ToldEpisode]) -> list[Mapping[str, Any]]:
    """Every headline of some episodes, in the order in which they were told."""
    return sorted((h for e in episodes for h in e.get("headlines", ())), key=lambda h: h["at"])


def of_one_occurrence(episode: ToldEpisode, others: Iterable[ToldEpisode]) -> list[ToldEpisode]:
    """The other episodes of an alert that are about the same occurrence: they overlap in time, or still last.

    Two window lengths that see one change are one occurrence.
    """
    begin, end = (datetime.fromisoformat(episode[k]) for k in ("from_ts", "to_ts"))
    return [
        other
        for other in others
        if not other.get("withdrawn")
        and datetime.fromisoformat(other["from_ts"]) < end
        and (other["ended"] is None or datetime.fromisoformat(other["to_ts"]) > begin)
    ]


def lasts(alert: Alert) -> bool:
    """Whether an episode of the alert has not ended."""
    running = any(e["ended"] is None for e in alert.episodes if not e.get("withdrawn"))
    return alert.withdrawn_at is None and (running or not alert.episodes)


def last_announced(alert: Alert) -> Mapping[str, Any] | None:
    """The episode with the newest headline, which is that of the alert."""
    announced = [e for e in alert.episodes if not e.get("withdrawn") and e["headlines"]]
    return max(announced, key=lambda e: (e["headlines"][-1]["at"], e["from_ts"]), default=None)


def told_window(alert: Alert) -> UUID | None:
    """The window that the alert's sentence and its confirmation are about; None for an alert without windows."""
    episode = last_announced(alert)
    if episode is None:
        return alert.first_window_id
    window = episode["headlines"][-1]["window"]
    return None if window is None else UUID(window)
