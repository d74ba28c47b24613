"""How one try to deliver a message ended."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` says why it did not arrive, in words of ours: it is shown and logged, so it never holds an address."""

    delivered: bool
    reason: str = ""
    retry_after_s: int | None = None
