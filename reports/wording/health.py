"""The sentence a page and a report begin with, put together from facts by templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from monitor.alerts.headlines import last_announced, lasts
from monitor.tables import Alert, Measurement, ReferenceRow
from monitor.windows.limits import not_judged
from reports.charts.text import number, utc
from reports.wording.phrases import WHY, brief_words, mean_words
from retrain.tables import ModelVersion, Run, TriggerDecision

Status = Literal["ok", "alarm", "unknown"]
RUN_WORDS = {
    "queued": "A retrain is queued",
    "curating": "A retrain is collecting its data",
    "training": "A retrain is training",
    "evaluating": "A retrain is being evaluated",
    "awaiting_approval": "A retrain waits for approval",
}


class Begun(Protocol):
    """A window, or as much of it as says when it began."""

    @property
    def from_ts(self) -> datetime: ...


class Judged(Begun, Protocol):
    """A window with its verdict; of the last judged one the whole decision."""

    @property
    def sentence(self) -> str: ...
    @property
    def decision(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class HealthFacts:
    """What is known about a model at one moment; windows in order of their end, oldest first."""

    windows: Sequence[Judged]
    baseline: ReferenceRow | None
    wanted_rows: int | None  # rows the reference waits for
    seen_rows: int  # rows since the reference was opened
    open_alerts: Sequence[Alert]
    kpis: Sequence[Measurement]  # the newest value of each KPI
    last_run: Run | None
    last_decision: TriggerDecision | None
    champion: ModelVersion | None
    retrains: bool
    starts: Mapping[UUID | None, Begun]  # first window of each open alert that has one


@dataclass(frozen=True)
class Health:
    status: Status
    sentence: str


def health(facts: HealthFacts) -> Health:
    """What is wrong and since when, or what a quiet model would have noticed; then what is next."""
    limited = [m for m in facts.kpis if m.limit is not None] or list(facts.kpis)
    kpis = " ".join(kpi_sentence(m) for m in limited)
    if facts.open_alerts:
        lasting = [a for a in facts.open_alerts if lasts(a)]
        said = " ".join(_alert(a, facts.starts.get(a.first_window_id)) for a in lasting or facts.open_alerts)
        over = [a for a in facts.open_alerts if lasting and a not in lasting]
        return Health("alarm", _joined(said, _over(over), _next(facts), _recovered(facts)))
    if not facts.windows and facts.seen_rows == 0:
        return Health("unknown", "No events yet, so nothing is judged.")
    judged = [w for w in facts.windows if w.decision["judged"]]
    if facts.baseline is not None and facts.baseline.state == "collecting" and facts.baseline.problem is not None:
        return Health("unknown", _joined(f"Drift is not judged: {facts.baseline.problem}.", kpis, _next(facts)))
    if facts.baseline is not None and facts.baseline.state == "collecting":
        target = f" of {facts.wanted_rows:,}" if facts.wanted_rows else ""
        seen = f"The reference is being collected ({facts.seen_rows:,}{target} rows)"
        waiting = f"{seen}; drift is not judged until it is complete."
        return Health("unknown", _joined(waiting, kpis, _next(facts)))
    if not judged:
        reason = (
            facts.windows[-1].sentence if facts.windows else "no window has closed since the reference was completed."
        )
        return Health("unknown", _joined(f"Drift is not judged yet: {_lowered(_without_prefix(reason))}", kpis))
    streak = _quiet_streak(judged)
    later = facts.windows[facts.windows.index(judged[-1]) + 1 :]
    noticed = _would_notice(judged[-1].decision) if streak and not later else ""
    if streak:
        many = "1 window" if streak == 1 else f"{streak} windows"
        since = f"Quiet since {utc(judged[-streak].from_ts)}: {many} without drift."
    elif later:
        since = "No open alert: the drift alarm has been resolved."
    else:
        since = "The last window raised an alarm that has been resolved."
    return Health("ok", _joined(since, kpis, _next(facts), _unjudged(later), noticed))


def _unjudged(later: Sequence[Judged]) -> str:
    """Windows after the last judged one, such as those a new version's reference is made of."""
    if not later:
        return ""
    many = "1 window is" if len(later) == 1 else f"{len(later)} windows are"
    why = WHY.get(str(later[-1].decision.get("verdict")), "see the windows")
    return f"Since {utc(later[0].from_ts)} {many} not judged for drift: {why}."


def kpi_sentence(m: Measurement) -> str:
    """`Realised accuracy 0.910 (0.880 to 0.934, n = 480), limit 0.85.`"""
    if m.value is None:
        return f"{m.metric} is not measured: {(m.reason or '').rstrip('.')}."
    between = f"{number(m.low)} to {number(m.high)}, " if m.low is not None and m.high is not None else ""
    limit = f", limit {m.limit:g}" if m.limit is not None else ""
    if why := not_judged(m.details):
        limit += f"; not judged: {why}"
    return f"Realised {m.metric} {number(m.value)} ({between}n = {m.n:,}){limit}."


def _over(alerts: Sequence[Alert]) -> str:
    """A short line about alerts whose last window was quiet: the reader came for the lasting ones."""
    if not alerts:
        return ""
    names = ", ".join(dict.fromkeys(f"{a.monitor} ({a.metric.replace('_', ' ')})" for a in alerts))
    many = "1 more alert" if len(alerts) == 1 else f"{len(alerts)} more alerts"
    return f"{many} had a quiet window since and {'waits' if len(alerts) == 1 else 'wait'} to be resolved: {names}."


def _alert(alert: Alert, first: Begun | None) -> str:
    episode = last_announced(alert)
    begun = first.from_ts if first is not None else alert.opened_at
    since = f"Since {utc(datetime.fromisoformat(episode['from_ts']) if episode is not None else begun)}"
    if episode is not None and not lasts(alert):
        since = (
            f"From {utc(datetime.fromisoformat(episode['from_ts']))} to {utc(datetime.fromisoformat(episode['to_ts']))}"
        )
    if alert.withdrawn_at is not None:
        back = f"withdrawn on {utc(alert.withdrawn_at)} after late rows or outcomes, and waits to be resolved"
        return f"An alert about {alert.monitor} ({alert.metric.replace('_', ' ')}) was {back}."
    windows = episode["windows"] if episode is not None else alert.windows
    many = f" ({windows} windows)" if windows > 1 else ""
    return f"{since}{many}: {alert.sentence.rstrip('.')}."


def _next(facts: HealthFacts) -> str:
    run = facts.last_run
    if run is not None and run.state in RUN_WORDS:
        return f"{RUN_WORDS[run.state]}."
    promoted = facts.champion.promoted_at if facts.champion is not None else None
    if run is not None and run.state == "promoted" and facts.champion is not None and promoted is not None:
        return f"{facts.champion.version} was promoted on {utc(promoted)}."
    if run is not None and run.state in ("rejected", "failed") and facts.open_alerts:
        return f"The last retrain was {run.state}; {run.champion_version} stays champion."
    if facts.open_alerts and not facts.retrains:
        return "No retrain policy is declared: a person decides."
    if facts.open_alerts and facts.last_decision is not None and not facts.last_decision.fired:
        return f"Nothing retrained: {_lowered(brief_words(facts.last_decision.reason, ())).rstrip('.')}."
    return ""


def _recovered(facts: HealthFacts) -> str:
    """A drift alert stays open until a person resolves it; this line says whether windows are quiet again."""
    judged = [w for w in facts.windows if w.decision["judged"]]
    streak = _quiet_streak(judged)
    if not streak or not any(a.monitor == "drift" for a in facts.open_alerts):
        return ""
    quiet = "window is" if streak == 1 else f"{streak} judged windows are"
    return f"The last {quiet} without drift; the alert waits to be resolved."


def _quiet_streak(judged: Sequence[Judged]) -> int:
    count = 0
    for window in reversed(judged):
        if window.decision.get("verdict") == "drift":
            break
        count += 1
    return count


def _would_notice(decision: dict[str, Any]) -> str:
    visible = [v for v in decision.get("visible") or [] if v.get("statement")]
    if not visible:
        return ""
    column = str(visible[0].get("column"))
    statement = str(visible[0]["statement"]).replace(f"mean of {column}", f"mean {mean_words(column)}")
    count = len(visible) - 1
    others = f"; {count} more {'column is' if count == 1 else 'columns are'} listed with the window" if count else ""
    return f"In the last window {statement}{others}."


def _without_prefix(sentence: str) -> str:
    """The reason in the sentence of a window that was not judged."""
    return sentence.removeprefix("Drift not judged: ").removeprefix("Not judged: ")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
