"""Changes of a log's origin: where a copy of an installation goes on under a name and a key of its own.

Two installations that grow from one log under one name would look like one that shows two histories. The entry
`ledger.origin` therefore ends the old name in the copy. It holds a last checkpoint under the old key, of the entries
before it, with an extension line that names the new key. Who trusts the old key learns the new one from it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import AppError
from governance.proof.checkpoint import Checkpoint, verify_checkpoint
from governance.proof.vkey import VerifierKey
from governance.verify.findings import Finding

ORIGIN_KIND: Final = "ledger.origin"
CONTINUES: Final = "continues "  # opens the extension line; the new key follows


@dataclass(frozen=True)
class OriginChange:
    """From entry `index` on, the log is signed by another key under another origin."""

    index: int
    before: VerifierKey
    after: VerifierKey

    def __str__(self) -> str:
        return f"a copy of {self.before.name}: from entry {self.index} on it is {self.after.name}"


def read_change(entry: dict[str, Any], root: bytes | None) -> tuple[OriginChange | None, list[Finding]]:
    """The change that an entry of kind ORIGIN_KIND makes.

    Args:
        entry: a well-formed entry.
        root: of the tree of the entries before it; None leaves this comparison out.
    """
    index, body = entry["index"], entry["body"]
    where, expected = f"entry {index}", "a checkpoint of the entries before it, by the key before, naming the key after"
    try:
        change = OriginChange(index, VerifierKey.parse(body["before"]), VerifierKey.parse(body["after"]))
        head = verify_checkpoint(body["checkpoint"], [str(change.before)])
    except (AppError, KeyError, TypeError, AttributeError) as error:
        reason = error.message if isinstance(error, AppError) else f"an unreadable body ({error})"
        return None, [Finding("entry.origin", where, expected, reason)]
    named = f"{CONTINUES}{change.after}"
    if named not in head.extensions or (head.origin, head.size) != (change.before.name, index):
        found = f"one of {head.size} entries of {head.origin} with {', '.join(head.extensions) or 'no extension'}"
        return None, [Finding("entry.origin", where, expected, found)]
    if root is not None and head.root != root:
        return None, [Finding("entry.origin", where, f"a checkpoint of root {root.hex()}", head.root.hex())]
    return change, []


def followed(vkeys: Sequence[str], changes: Iterable[OriginChange]) -> tuple[list[str], list[OriginChange]]:
    """The trusted keys with those that they vouch for, and the changes that this rests on, in order."""
    known = [VerifierKey.parse(vkey) for vkey in vkeys]
    kept = []
    for change in changes:
        if change.before in known or change.after in known:
            kept.append(change)
        if change.before in known and change.after not in known:
            known.append(change.after)
    return [str(key) for key in known], kept


def origin_findings(heads: Sequence[tuple[Checkpoint, str]], changes: Sequence[OriginChange]) -> list[Finding]:
    """A finding for each checkpoint that does not bear the name, and the signature, of its part of the log."""
    findings = []
    for head, where in heads:
        made = [change for change in changes if change.index < head.size]
        key = made[-1].after if made else changes[0].before if changes else None
        origin = key.name if key else heads[0][0].origin
        if head.origin != origin:
            findings.append(Finding("checkpoint.origin", where, repr(origin), repr(head.origin)))
        elif key is not None and key.label not in head.signers:
            findings.append(Finding("checkpoint.signature", where, f"a signature of {key.label}", str(head.signers)))
    return findings
