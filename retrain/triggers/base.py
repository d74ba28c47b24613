"""The inputs of triggers and the finding each returns. Pure: `runs/consider.py` gathers inputs and records results."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from monitor.spec.retraining import Retrain


@dataclass(frozen=True, slots=True)
class WindowReading:
    """The verdict about the newest window of one scale."""

    id: str
    scale: str
    verdict: str  # ok | alarm | unknown
    sentence: str
    to_ts: datetime
    drifted: Mapping[str, float | None] = field(default_factory=dict)  # columns whose drift alarmed, with its size
    novel: tuple[
        str, ...
    ] = ()  # text columns with requests of a new kind, where the window is no longer than asked for
    from_seq: int = 0  # first event of the run of alarms that it ends


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
    low: float | None = None
    high: float | None = None
    estimated: bool = False  # before outcomes
    about: str = ""  # column and segment without the window's length

    @property
    def key(self) -> str:
        """The metric that is measured, whatever the window's length and whether it is estimated."""
        return f"{self.metric} {self.about}".strip()


@dataclass(frozen=True, slots=True)
class Labelled:
    """Events whose outcome is known."""

    since_training: int  # arrived since the last training set, or since the first reference ended
    since_alarm: int | None = None  # among the events from the first window of the present alarm on


@dataclass(frozen=True, slots=True)
class NewClassesReading:
    """Labelled rows of the time that the policy names.

    Attributes:
        unknown: rows of each class that the champion does not know.
        expected: the share of such rows to expect; None where nothing says, with the `reason`.
        old_rows: rows of the champion's own time that it was estimated from.
    """

    rows: int
    unknown: Mapping[str, int]
    expected: float | None
    reason: str | None = None
    old_rows: int = 0


@dataclass(frozen=True, slots=True)
class WholeReading:
    """The model of models that a part belongs to.

    Attributes:
        agent: which of its agents the part is.
        alarms: its KPIs past their limits, each with the agents that got worse.
        reason: why nothing can be said.
    """

    model: str
    agent: str
    alarms: tuple[tuple[TriggerReading, tuple[str, ...]], ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleReading:
    """A cron expression of the policy."""

    cron: str
    timezone: str
    since: datetime  # when it was declared, or its last tick that was considered: the later
    words: str


@dataclass(frozen=True, slots=True)
class ManualStart:
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a run was started for. It starts another once it has cleared, or has got worse by a step."""

    at: datetime  # of the decision that started the run
    size: float | None  # how far beyond its limit it was; None where that is not measured


@dataclass(frozen=True, slots=True)
class TriggerInputs:
    now: datetime
    windows: tuple[WindowReading, ...] = ()
    kpis: tuple[TriggerReading, ...] = ()
    fairness: tuple[TriggerReading, ...] = ()
    labelled: Labelled = Labelled(0)
    schedules: tuple[ScheduleReading, ...] = ()
    new_classes: NewClassesReading | None = None
    whole: WholeReading | None = None
    held: Mapping[str, Mapping[str, Held]] = field(default_factory=dict)  # by trigger and condition
    last_run_at: datetime | None = None
    open_run: str | None = None
    manual: ManualStart | None = None
    outside_envelope: tuple[str, ...] = ()
    unlearnable: str | None = None  # why nothing can be learned from the labels; looked at once all else would fire
    material: tuple[str, ...] = ()  # what of it licence or consent forbids to use; looked at with `unlearnable`
    unteachable: str | None = None  # why the champion cannot teach a run; looked at with `unlearnable`
    stopped: str | None = None  # who stopped the model, when and why
    closed: str | None = None  # outside the allowed hours: what they are, and when they begin
    over_budget: tuple[str, ...] = ()  # budgets that are spent, each with its figures
    lacking: tuple[str, ...] = ()  # disk, memory or card that a run needs and this machine does not have free


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a trigger looks at, such as a KPI or a column.

    Attributes:
        state: `unknown` where it could not be judged now, so that it has neither come nor cleared.
        size: how far it is beyond its limit; None where that is not measured.
        words: what is on.
    """

    key: str
    state: Literal["on", "off", "unknown"]
    size: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class TriggerFinding:
    """One trigger's answer.

    Attributes:
        evidence: the windows, measurements or people it rests on.
        conditions: what may last after a run was started for it; a trigger without any fires as it finds.
        ticks: the last tick of each schedule that is due.
        focus: the rows that a run started for this alone concentrates on.
    """

    name: str
    fire: bool
    reason: str
    evidence: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    ticks: Mapping[str, str] = field(default_factory=dict)
    focus: Mapping[str, object] = field(default_factory=dict)

    @property
    def recorded(self) -> dict[str, object]:
        """The finding as a decision keeps it."""
        found = {"name": self.name, "fire": self.fire, "reason": self.reason, "evidence": list(self.evidence)}
        return found | ({"focus": dict(self.focus)} if self.focus else {})


@dataclass(frozen=True, slots=True)
class Trigger:
    """`labels` names the labelled events that must suffice: those since the training set or those since the alarm."""

    name: str
    labels: str  # since_training | since_alarm
    wanted: Callable[[TriggerInputs, Retrain], bool]
    find: Callable[[TriggerInputs, Retrain], TriggerFinding]
