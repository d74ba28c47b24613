"""Changes of the key that signs a log: a copy that goes on under another name, and a key that is rotated.

Two installations that grow from one log under one name would look like one that shows two histories. The entry
`ledger.origin` therefore ends the old name in the copy. The entry `ledger.key_rotated` keeps the name and changes the
key. Each holds a last checkpoint of the entries before it, with an extension line that names the new key, signed by the
old key. Who trusts the old key learns the new one from it.

A rotation may be signed by a recovery key instead, which an earlier entry `ledger.recovery_key` names in the same way:
for a key that is lost, or that somebody else holds too. `revoked_from` in a rotation says from which entry on the old
key counts as compromised.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import AppError
from governance.proof.checkpoint import Checkpoint, verify_checkpoint
from governance.proof.vkey import VerifierKey
from governance.verify.findings import Finding

ORIGIN_KIND: Final = "ledger.origin"
ROTATED_KIND: Final = "ledger.key_rotated"
RECOVERY_KIND: Final = "ledger.recovery_key"
KEY_KINDS: Final = (ORIGIN_KIND, ROTATED_KIND, RECOVERY_KIND)
DOCUMENTS_KIND: Final = "ledger.documents_key"  # names the key of bundles and champions, where it is another one
CONTINUES: Final = "continues "  # opens the extension line; the new key follows
RECOVERS: Final = "recovery "  # the same for a recovery key


@dataclass(frozen=True)
class OriginChange:
    """From entry `index` on, the log is signed by another key, in a copy under another origin.

    `by` signed the change: the key before, or a recovery key. `revoked_from` is the entry from which on the key before
    counts as compromised; None if it does not.
    """

    index: int
    before: VerifierKey
    after: VerifierKey
    by: VerifierKey
    revoked_from: int | None = None

    @property
    def copied(self) -> bool:
        """Whether the log goes on as that of a copy; otherwise its key was rotated."""
        return self.before.name != self.after.name

    @property
    def recovered(self) -> bool:
        return self.by != self.before

    def __str__(self) -> str:
        if self.copied:
            return f"a copy of {self.before.name}: from entry {self.index} on it is {self.after.name}"
        who = f", by recovery key {self.by.label}" if self.recovered else ""
        words = f"from entry {self.index} on {self.after.label} signs instead of {self.before.label}{who}"
        if self.revoked_from is None:
            return words
        return (
            f"{words}, which the operator declared compromised from entry {self.revoked_from} on: whoever holds it can "
            f"sign another history of what follows, so that what it signed counts up to entry {self.revoked_from - 1} "
            "alone. A checkpoint of more entries that you hold and that differs from this log is forged, or the log "
            "was rewritten"
        )


@dataclass(frozen=True)
class RecoveryKey:
    """Entry `index` names a key that may sign the next rotation, on the word of the key that signs the log."""

    index: int
    key: VerifierKey
    by: VerifierKey


KeyStep = OriginChange | RecoveryKey


def read_change(entry: dict[str, Any], root: bytes | None) -> tuple[KeyStep | None, list[Finding]]:
    """What an entry of KEY_KINDS says about the keys of the log.

    Args:
        entry: a well-formed entry.
        root: of the tree of the entries before it; None leaves this comparison out.
    """
    index, body = entry["index"], entry["body"]
    where, expected = f"entry {index}", "a checkpoint of the entries before it, by the key before, naming the key after"
    try:
        step = _read(index, entry["kind"], body)
        head = verify_checkpoint(body["checkpoint"], [str(step.by)])
    except (AppError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = error.message if isinstance(error, AppError) else f"an unreadable body ({error})"
        return None, [Finding("entry.origin", where, expected, reason)]
    named = f"{CONTINUES}{step.after}" if isinstance(step, OriginChange) else f"{RECOVERS}{step.key}"
    name = step.before.name if isinstance(step, OriginChange) else step.by.name
    if named not in head.extensions or (head.origin, head.size) != (name, index):
        found = f"one of {head.size} entries of {head.origin} with {', '.join(head.extensions) or 'no extension'}"
        return None, [Finding("entry.origin", where, expected, found)]
    if root is not None and head.root != root:
        return None, [Finding("entry.origin", where, f"a checkpoint of root {root.hex()}", head.root.hex())]
    if entry["kind"] == ROTATED_KIND and isinstance(step, OriginChange) and step.copied:
        return None, [Finding("entry.origin", where, f"a key of {step.before.name}", step.after.name)]
    return step, []


def _read(index: int, kind: str, body: dict[str, Any]) -> KeyStep:
    if kind == RECOVERY_KIND:
        return RecoveryKey(index, VerifierKey.parse(body["key"]), VerifierKey.parse(body["by"]))
    before, after = VerifierKey.parse(body["before"]), VerifierKey.parse(body["after"])
    if kind == ORIGIN_KIND:
        return OriginChange(index, before, after, before)
    revoked = body["revoked_from"]
    if revoked is not None and (not isinstance(revoked, int) or isinstance(revoked, bool) or not 0 <= revoked <= index):
        raise ValueError(f"revoked_from is {revoked!r}, no entry up to {index}")
    return OriginChange(index, before, after, VerifierKey.parse(body["by"]), revoked)


def followed(vkeys: Sequence[str], steps: Iterable[KeyStep]) -> tuple[list[str], list[OriginChange]]:
    """The trusted keys with those that they vouch for, and the changes that this rests on, in order."""
    known = [VerifierKey.parse(vkey) for vkey in vkeys]
    recovery: list[RecoveryKey] = []
    kept = []
    for step in steps:
        if isinstance(step, RecoveryKey):
            recovery += [step] if step.by in known else []
            continue
        vouched = step.before in known and (not step.recovered or _may_recover(step, recovery))
        if vouched or step.after in known:
            kept.append(step)
        if vouched and step.after not in known:
            known.append(step.after)
    return [str(key) for key in known], kept


def unsure(vkeys: Sequence[str], steps: Sequence[KeyStep]) -> OriginChange | None:
    """The rotation that makes the trusted keys say too little about the last key of the log; None if there is none.

    A key that is declared compromised cannot vouch for its successor: whoever else holds it could name another.
    """
    sure = [VerifierKey.parse(vkey) for vkey in vkeys]
    _, kept = followed(vkeys, steps)
    doubt = None
    for change in kept:
        if change.after in sure or change.before not in sure:
            continue
        if change.revoked_from is None or change.recovered:
            sure.append(change.after)
        else:
            doubt = change
    return doubt if kept and kept[-1].after not in sure else None


def _may_recover(change: OriginChange, named: Sequence[RecoveryKey]) -> bool:
    """Whether the key that signed a change was named as a recovery key while the key before was sound."""
    sound_until = change.index if change.revoked_from is None else change.revoked_from
    return any(key.key == change.by and key.by == change.before and key.index < sound_until for key in named)


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
