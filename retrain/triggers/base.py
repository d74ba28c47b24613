"""The inputs of triggers and the finding each returns. Pure: `runs/consider.py` gathers inputs and records results."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from monitor.spec.retraining import Retrain


@dataclass(frozen=True, slots=True)
class WindowReading:
    """The verdict about the newest window of one scale."""

    id: str
    scale: str
    verdict: str  # ok | alarm | unknown
    sentence: str
    to_ts: datetime
    drifted: tuple[str, ...] = ()  # columns whose drift alarmed


@dataclass(frozen=True, slots=True)
class TriggerReading:
    """The newest defined measurement of one KPI or fairness metric, with the limit it was judged by."""

    id: str
    metric: str
    value: float | None
    limit: float | None
    alarm: bool
    n: int
    of: str = ""  # column and segment
    not_judged: str | None = None  # why it was not judged by the limit


@dataclass(frozen=True, slots=True)
class Labelled:
    """Events whose outcome is known."""

    since_training: int  # arrived since the last training set, or since the first reference ended
    since_alarm: int | None = None  # among the events from the first window of the present alarm on


@dataclass(frozen=True, slots=True)
class ManualStart:
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class TriggerInputs:
    now: datetime
    considered_at: datetime  # the last consideration; before the first, when the policy was declared
    windows: tuple[WindowReading, ...] = ()
    kpis: tuple[TriggerReading, ...] = ()
    fairness: tuple[TriggerReading, ...] = ()
    labelled: Labelled = Labelled(0)
    last_run_at: datetime | None = None
    open_run: str | None = None
    manual: ManualStart | None = None
    outside_envelope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TriggerFinding:
    """One trigger's answer; `evidence` names the windows, measurements or people it rests on."""

    name: str
    fire: bool
    reason: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trigger:
    """`labels` names the labelled events that must suffice: those since the training set or those since the alarm."""

    name: str
    labels: str  # since_training | since_alarm
    wanted: Callable[[TriggerInputs, Retrain], bool]
    find: Callable[[TriggerInputs, Retrain], TriggerFinding]
