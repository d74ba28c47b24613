"""Recoveries: where a log goes on after its end was lost, as after a database was restored from an older copy.

A log that lost its end and grew again is a second history beside the one that was signed. It may go on only with an
entry that says so: `ledger.recovered` names how many entries remained, holds the newest checkpoint of the old history,
and says who decided it and why. Checkpoints of the lost part are then named as lost instead of as a contradiction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from core.errors import AppError
from governance.proof.checkpoint import SIZE, Checkpoint, verify_checkpoint
from governance.verify.findings import Finding

RECOVERED_KIND: Final = "ledger.recovered"


@dataclass(frozen=True)
class Recovery:
    """Entry `index` says that of a log of `size` entries the first `kept` remained.

    `lost` are checkpoints of the lost part, as (size, hexadecimal root); `note` is the newest of them.
    """

    index: int
    at: datetime
    kept: int
    size: int
    note: str
    by: str
    lost: frozenset[tuple[int, str]]

    def disowns(self, head: Checkpoint) -> bool:
        """Whether a checkpoint is one of the part that was lost: it is named, or was signed before the recovery."""
        if not self.kept < head.size <= self.size:
            return False
        return (head.size, head.root.hex()) in self.lost or (head.at is not None and head.at < self.at)

    def __str__(self) -> str:
        count = self.size - self.kept
        return (
            f"recovered from a rollback at entry {self.kept}: {count} signed entries, {self.kept} to {self.size - 1}, "
            f"were lost; entry {self.index} records it, by {self.by} at {self.at:%Y-%m-%d %H:%M:%S} UTC"
        )


def read_recovery(entry: dict[str, Any]) -> tuple[Recovery | None, list[Finding]]:
    """The recovery that a well-formed entry of kind RECOVERED_KIND records; its signature is checked by `signed`."""
    index, body = entry["index"], entry["body"]
    try:
        claimed = body["old_head"].split("\n")[1]
        found = Recovery(
            index, datetime.fromisoformat(entry["at"]), body["kept"], int(claimed) if SIZE.fullmatch(claimed) else -1,
            body["old_head"], str(body["by"]), frozenset((size, root) for size, root in body["lost"]),
        )  # fmt: skip
        if 0 <= found.kept <= index and found.kept < found.size:
            return found, []
        reason = f"{found.kept} of {found.size} entries kept"
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = f"an unreadable body ({error})"
    expected = "fewer entries kept than the old head has, and no more than come before it"
    return None, [Finding("entry.recovery", f"entry {index}", expected, reason)]


def signed(recoveries: Iterable[Recovery], vkeys: Sequence[str]) -> tuple[list[Recovery], list[Finding]]:
    """Those whose old head was signed by a known key, and a finding for each other."""
    kept, findings = [], []
    for recovery in recoveries:
        try:
            verify_checkpoint(recovery.note, vkeys)
            kept.append(recovery)
        except AppError as error:
            where = f"entry {recovery.index}"
            findings.append(Finding("entry.recovery", where, "an old head signed by a known key", error.message))
    return kept, findings


def disowned(head: Checkpoint, recoveries: Iterable[Recovery]) -> bool:
    return any(recovery.disowns(head) for recovery in recoveries)
