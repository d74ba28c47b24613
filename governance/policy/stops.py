"""The stop switch of a model: while it is set, nothing is promoted and nothing is trained. Its state is the ledger's.

No table repeats it, so that nobody who can write to the database lifts a stop. Going back to an earlier champion,
retiring a version and rejecting a run stay possible: they are what a stop is for.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from core.errors import ConflictError
from governance.access.roles import Permission
from governance.access.signers import Signer, signer, signer_line
from governance.ledger.append import append_entry
from governance.ledger.read import ledger_entries
from governance.policy.approvals import check_other_person, expired, lost_right, people
from governance.policy.reasons import read_reason

SET: Final = "stop.set"
AGREED: Final = "stop.lift_agreed"  # one of several people who must agree
LIFTED: Final = "stop.lifted"
DRILLED: Final = "stop.drilled"


class ModelStoppedError(ConflictError):
    code = "model_stopped"

    def __init__(self, model: str, stop: "Stop", what: str) -> None:
        super().__init__(
            f"{what} is refused: {model} is stopped since {stop.at:%Y-%m-%d %H:%M} UTC by {stop.by.named}: "
            f"{stop.reason}. Lift the stop first: assay stop {model} --lift --reason WHY",
            model=model, stopped_at=stop.at.isoformat(), entry=stop.entry,
        )  # fmt: skip


class NotStoppedError(ConflictError):
    code = "model_not_stopped"


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop that is in force. `entry` is the ledger entry that set it."""

    entry: int
    at: datetime
    by: Signer
    reason: str

    def words(self, model: str) -> str:
        return f"{model} is stopped since {self.at:%Y-%m-%d %H:%M} UTC by {self.by.named}: {self.reason}"


def stop_of(db: Session, model: str) -> Stop | None:
    """The stop of a model that is in force; None while there is none."""
    return _standing(db, f"model:{model}").get(model)


def standing_stops(db: Session) -> dict[str, Stop]:
    """Every stop that is in force, by model in order."""
    return dict(sorted(_standing(db).items()))


def agreed_to_lift(db: Session, model: str, stop: Stop, now: datetime) -> tuple[Signer, ...]:
    """Who agreed to lift a stop and counts now; who lost the right meanwhile, or agreed too long ago, does not."""
    found = []
    for entry in ledger_entries(db, (AGREED,), f"model:{model}"):
        who = _who(db, entry["body"]["by"])
        void = who.revoked or lost_right(db, who, Permission.RUN_APPROVE, model) or expired(_at(entry), now)
        if entry["body"]["stop"] == stop.entry and not void:
            found.append(who)
    return tuple(found)


def history(db: Session, model: str) -> list[dict[str, Any]]:
    """Every entry about the switch of a model, drills too, oldest first."""
    return ledger_entries(db, (SET, AGREED, LIFTED, DRILLED), f"model:{model}")


def refuse_while_stopped(db: Session, model: str, what: str) -> None:
    """
    Args:
        what: what is refused, as the message begins.

    Raises:
        ModelStoppedError: the model is stopped.
    """
    if (stop := stop_of(db, model)) is not None:
        raise ModelStoppedError(model, stop, what)


def set_stop(db: Session, model: str, who: Signer, reason: str, now: datetime) -> Stop:
    """Stop a model. The caller holds the model's row, so that no promotion passes meanwhile.

    Raises:
        InvalidError: the reason is empty or too long.
        ModelStoppedError: it is stopped already.
    """
    reason = read_reason(reason)
    if (stop := stop_of(db, model)) is not None:
        raise ModelStoppedError(model, stop, "another stop")
    body = {"by": signer_line(who), "reason": reason}
    entry = append_entry(db, kind=SET, actor=who.actor, subject=f"model:{model}", body=body, at=now)
    return Stop(entry, now, who, reason)


def lift_stop(db: Session, model: str, who: Signer, reason: str, now: datetime, *, needed: int) -> Stop | None:
    """Lift a stop, or agree to it where more people must; None once it is lifted.

    Args:
        needed: people other than the one who set it that must agree; 0 where anybody who may lift it does so alone.

    Raises:
        InvalidError: the reason is empty or too long.
        NotStoppedError: the model is not stopped.
        ApprovalRefusedError: this person set the stop or has agreed already, or is not known by name.
    """
    reason = read_reason(reason)
    stop = stop_of(db, model)
    if stop is None:
        raise NotStoppedError(f"{model} is not stopped; there is nothing to lift", model=model)
    agreed = agreed_to_lift(db, model, stop, now)
    if needed:
        check_other_person(who, stop.by, agreed, did=f"stopped {model}", may="lift the stop")
        agreed = (*agreed, who)
        if (given := people(agreed)) < needed:
            body = {"by": signer_line(who), "reason": reason, "stop": stop.entry, "given": given, "needed": needed}
            append_entry(db, kind=AGREED, actor=who.actor, subject=f"model:{model}", body=body, at=now)
            return stop
    body = {
        "by": signer_line(who), "reason": reason, "stop": stop.entry, "seconds": (now - stop.at).total_seconds(),
        "agreed_by": [signer_line(s) for s in agreed],
    }  # fmt: skip
    append_entry(db, kind=LIFTED, actor=who.actor, subject=f"model:{model}", body=body, at=now)
    return None


def record_drill(db: Session, model: str, who: Signer, reason: str, now: datetime, found: dict[str, Any]) -> int:
    body = {"by": signer_line(who), "reason": read_reason(reason), **found}
    return append_entry(db, kind=DRILLED, actor=who.actor, subject=f"model:{model}", body=body, at=now)


def _standing(db: Session, subject: str | None = None) -> dict[str, Stop]:
    found: dict[str, Stop] = {}
    for entry in ledger_entries(db, (SET, LIFTED), subject):
        model = entry["subject"].removeprefix("model:")
        if entry["kind"] == LIFTED:
            found.pop(model, None)
        else:
            found[model] = Stop(entry["index"], _at(entry), _who(db, entry["body"]["by"]), entry["body"]["reason"])
    return found


def _at(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["at"])


def _who(db: Session, line: dict[str, Any]) -> Signer:
    return signer(db, line["actor"], line.get("key"), line.get("owner"))
