"""What an anchor is: it takes a signed note, and may answer with evidence that is kept."""

from dataclasses import dataclass
from typing import Protocol


class AnchorError(Exception):
    """A note did not arrive. The message is plain, and names no address that could hold a password."""


@dataclass(frozen=True)
class Anchored:
    """A checkpoint as it is handed over.

    mark: tells it from one of the same size that a recovery of the log has named as lost; empty where there is none.
    """

    size: int
    note: bytes
    mark: str = ""

    @property
    def file_name(self) -> str:
        return f"checkpoint-{self.size:012d}{self.mark}.note"


class Anchor(Protocol):
    """`all_notes`: whether it takes every checkpoint, or the newest alone, which covers all entries before it."""

    @property
    def all_notes(self) -> bool: ...

    def take(self, checkpoint: Anchored) -> bytes | None:
        """Hand a note over; returns evidence to keep, if the anchor gives any. Taking it again changes nothing.

        Raises:
            AnchorError: it did not arrive.
        """
