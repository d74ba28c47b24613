"""What a message says, in plain sentences."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.notify.announcement import Announcement

# A drift alert's sentence begins with its leading column: "Drift: `text`: new kind of request (...); `other`: ...".
_LEADING: Final = re.compile(r"Drift: `(?P<column>[^`]+)`: (?P<what>.+?)(?:; `|; and \d+ more|\.$|\.\s)")
# Of several columns, what people ask says most, whichever changed most.
_TOLD_FIRST: Final = re.compile(r"`(?P<column>[^`]+)`: (?P<what>new kind of request|mix of known requests changed)")
# The size of what is told in other words than the sentence has, from the parentheses behind it.
_SIZE: Final = re.compile(r"(?: \()?[^()]*, (?P<size>very small|small|moderate|large)(?:[);]|$)")
_PARENTHESES: Final = re.compile(r" \([^()]*\)")  # intervals and numbers of rows; the sentence follows in full
_KINDS: Final[Mapping[str, str]] = {
    "new kind of request": "people ask about things {model} never saw",
    "mix of known requests changed": "people ask {model} about other things than before",
    "new vocabulary or typos": "`{column}` of {model} has words that were never seen",
    "length changed": "the texts in `{column}` of {model} have another length",
    "wording moved": "the texts in `{column}` of {model} are worded differently",
    "vectors moved": "the vectors in `{column}` of {model} moved",
}
NEXT: Final[Mapping[str, str]] = {
    "drift": "Look at what changed on the alert's page. If it is wanted, or a false alarm, resolve the alert: until "
    "then no later row enters an automatic reference; in place of a declared one, name newer rows. If not, find the "
    "source or the release that changed.",
    "kpi": "Compare wrong answers with right ones; if a release caused it, roll back; else consider a retrain.",
    "estimate": "No outcomes have confirmed this yet: label a sample of the newest rows, and look at what drifted.",
    "fairness": "Look at the rates of the groups on the window's page, and tell the owner before a retrain.",
    "concept": "Inputs and outcomes no longer belong together as before: look at recent wrong answers, consider a "
    "retrain.",
    "attribution": "Look at what the columns count for on the model's page: the model answers from other columns than "
    "before, mostly because its inputs changed.",
    "quality": "Check the source of the column: such values usually come from a broken feed or a changed form.",
    "volume": "Check whether a source was added, lost or sent twice.",
    "silence": "Check that the application runs and still sends its events.",
    "outcomes": "Check the job that sends outcomes.",
    "system": "Look at the log of the service and at `assay doctor`.",
}
# Alerts of the installation by metric, where neither log nor machine says more than their own sentence.
_NEXT_OF_METRIC: Final[Mapping[str, str]] = {
    "changed_rows": "Find out who wrote to the database; `assay verify` names each row and what it must hold.",
    "changed_rights": "Find out who wrote to the database, and revoke the key; `assay verify` names all that differ.",
    "unsigned_ledger": "Run `assay verify` on the machine; after a restore, `assay ledger recover`.",
    "witness": "Ask the operator of the witness what it has seen, and compare: `assay verify --against`.",
    "last_seen_file": "Let the service write that file, or set ASSAY_LEDGER__LAST_SEEN to another.",
    "model_stopped": "Find out why; an approver lifts the stop: assay stop MODEL --lift.",
    "change_waits": "An approver decides: assay changes approve MODEL ID, or on the page of the model.",
    "missed_checks": "Look at the log of the worker at that time, and at `assay plan MODEL`.",
    "serious_incident": "Tell the authority and record it: assay serious report MODEL ID.",
    "serious_incident_overdue": "Tell the authority now, with why it is late, and record it: assay serious report "
    "MODEL ID.",
    "silent_anchor": "Let the anchor take checkpoints again; those that wait are handed over by themselves.",
    "unreachable_signer": "Start `assay signer`, or plug the token in; the entries since then are signed then.",
    "older_lake": "Send again what was sent after the copy was made, and resolve this alert.",
    "damaged_log": "Send again what was sent then, check the disk, and resolve this alert.",
}
_OCCASIONS: Final[Mapping[str, str]] = {
    "opened": "opened",
    "again": "alarms again",
    "worse": "is worse than before",
    "released": "is told now, as a maintenance or a mute is over",
    "resolved": "is resolved",
    "withdrawn": "is withdrawn",
    "test": "is a test",
    "report": "is ready",
}


def next_step(monitor: str, metric: str) -> str | None:
    """What to do about an alert; None where nothing can be advised."""
    return (_NEXT_OF_METRIC.get(metric) if monitor == "system" else None) or NEXT.get(monitor)


def headline(item: Announcement) -> str:
    """One plain sentence: since when, what happened, and what it costs."""
    if item.occasion in ("test", "report"):
        return item.sentence
    if item.occasion in ("resolved", "withdrawn"):
        took = ", as late rows or outcomes took the alarm back" if item.occasion == "withdrawn" else ""
        began = day(item.since or item.at, item.at)
        return f"{item.occasion.capitalize()}{took}: {_clause(item)}; it began {began}."
    cost = f"; {item.consequence}" if item.consequence and item.monitor not in ("kpi", "estimate") else ""
    return f"Since {day(item.since or item.at, item.at)} {_clause(item)}{cost}."


def _clause(item: Announcement) -> str:
    if item.model is None:
        return _lowered(item.sentence).rstrip(".")
    short = _PARENTHESES.sub("", item.sentence)
    if (found := _TOLD_FIRST.search(item.sentence)) or (found := _LEADING.match(item.sentence + " ")):
        kind = found["what"].partition(" (")[0]
        words = _KINDS.get(kind, "`{column}` of {model} changed: {what}")
        said = words.format(model=item.model, column=found["column"], what=_PARENTHESES.sub("", found["what"]))
        size = _SIZE.match(item.sentence, found.end("what")) if kind in _KINDS else None
        return said if size is None else f"{said}, a {size['size']} change"
    return f"{item.model}: {_lowered(short).rstrip('.')}"


def _lowered(sentence: str) -> str:
    """As it reads within a sentence; names between backticks keep their case."""
    return sentence[:1].lower() + sentence[1:] if not sentence[:2].isupper() else sentence


def day(at: datetime, now: datetime) -> str:
    """`13 Nov`, with the hour if it is recent, and with the year if it is not this one."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    if timedelta() <= now - at < timedelta(days=1):
        return at.strftime("%-d %b %H:%M UTC")
    return at.strftime("%-d %b") if at.year == now.year else at.strftime("%-d %b %Y")


def occasion(item: Announcement) -> str:
    what = f"{item.monitor} alert" if item.monitor else "message"
    return f"{what} {_OCCASIONS[item.occasion]}"


def plain(sentence: str) -> str:
    """Without the backticks that set names as code."""
    return sentence.replace("`", "")
