"""Legal holds: what is kept for a claim or an authority, against retention and erasure. Their state is the ledger's.

No table repeats it, so that nobody who can write to the database lifts a hold. A person is named by the keyed digest
that their rows carry.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from sqlalchemy.orm import Session

from core.canonical import timestamp
from core.errors import ConflictError, InvalidError, NotFoundError
from governance.ledger.append import append_entry
from governance.ledger.read import ledger_entries
from governance.policy.reasons import read_reason

ADDED: Final = "hold.added"
RELEASED: Final = "hold.released"


class HeldError(ConflictError):
    """An erasure would remove what a hold keeps."""

    code = "legal_hold"

    def __init__(self, hold: "LegalHold") -> None:
        super().__init__(
            f"the erasure is refused: {hold.words}. Ask for it again once the hold is released: "
            f"assay hold release {hold.id} --reason WHY",
            hold=hold.id, model=hold.model,
        )  # fmt: skip


class HoldNotFoundError(NotFoundError):
    code = "hold_not_found"


class HoldReleasedError(ConflictError):
    code = "hold_released"


@dataclass(frozen=True, slots=True)
class LegalHold:
    """`id` is the index of the ledger entry that added it. `subject` is a keyed digest; None keeps everybody's rows.

    begin, end: times of events, both kept; None is open.
    """

    id: int
    model: str
    begin: datetime | None
    end: datetime | None
    subject: str | None
    reason: str
    added_at: datetime
    added_by: str
    released_at: datetime | None = None
    released_by: str | None = None
    release_reason: str | None = None

    @property
    def words(self) -> str:
        whom = "one person's rows" if self.subject else "rows"
        return (
            f"{whom} of {self.model} are under legal hold {self.id} since {self.added_at:%Y-%m-%d %H:%M} UTC by "
            f"{self.added_by}: {self.reason}"
        )

    def covers(self, day: date | None, *, arrival: bool = False) -> bool:
        """Whether the rows of a day are kept; of a file without a day, always.

        Args:
            arrival: the day is that of an outcome's or rejected row's arrival, which may come any time after its event.
        """
        if day is None:
            return True
        begun = self.begin is None or self.begin.date() <= day
        return begun and (arrival or self.end is None or day <= self.end.date())


def holds(db: Session) -> list[LegalHold]:
    """Every hold, released ones too, oldest first."""
    found: dict[int, LegalHold] = {}
    for entry in ledger_entries(db, (ADDED, RELEASED)):
        body, at = entry["body"], datetime.fromisoformat(entry["at"])
        if entry["kind"] == ADDED:
            found[entry["index"]] = LegalHold(
                entry["index"], entry["subject"].removeprefix("model:"), _time(body["from"]), _time(body["to"]),
                body["subject"], body["reason"], at, entry["actor"],
            )  # fmt: skip
        elif (held := found.get(body["hold"])) is not None and held.released_at is None:
            found[held.id] = replace(
                held, released_at=at, released_by=entry["actor"], release_reason=body["reason"]
            )  # fmt: skip
    return list(found.values())


def standing_holds(db: Session, model: str) -> list[LegalHold]:
    """The holds of a model that are in force."""
    return [hold for hold in holds(db) if hold.model == model and hold.released_at is None]


def refuse_erasure(db: Session, model: str, subject: str) -> None:
    """
    Raises:
        HeldError: a hold of the model keeps this person's rows, or everybody's.
    """
    for hold in standing_holds(db, model):
        if hold.subject in (None, subject):
            raise HeldError(hold)


def add_hold(
    db: Session,
    model: str,
    *,
    begin: datetime | None,
    end: datetime | None,
    subject: str | None,
    reason: str,
    actor: str,
    now: datetime,
) -> LegalHold:
    """
    Args:
        subject: keyed digest.

    Raises:
        InvalidError: the end lies before the beginning, or the reason is empty or too long.
    """
    reason = read_reason(reason)
    if begin is not None and end is not None and end < begin:
        raise InvalidError(
            f"to is {timestamp(end)}, before from, {timestamp(begin)}; exchange them", field="to", value=timestamp(end)
        )
    body = {"from": begin, "to": end, "subject": subject, "reason": reason}
    entry = append_entry(db, kind=ADDED, actor=actor, subject=f"model:{model}", body=body, at=now)
    return LegalHold(entry, model, begin, end, subject, reason, now, actor)


def hold_of(db: Session, hold: int) -> LegalHold:
    """Raises HoldNotFoundError."""
    found = next((one for one in holds(db) if one.id == hold), None)
    if found is None:
        raise HoldNotFoundError(f"there is no legal hold {hold}; `assay hold list` shows them", hold=hold)
    return found


def release_hold(db: Session, hold: LegalHold, *, reason: str, actor: str, now: datetime) -> LegalHold:
    """
    Raises:
        HoldReleasedError: it is released already.
        InvalidError: the reason is empty or too long.
    """
    if hold.released_at is not None:
        raise HoldReleasedError(f"legal hold {hold.id} was released by {hold.released_by} already", hold=hold.id)
    body = {"hold": hold.id, "reason": read_reason(reason)}
    append_entry(db, kind=RELEASED, actor=actor, subject=f"model:{hold.model}", body=body, at=now)
    return hold_of(db, hold.id)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
