"""Hold a log against what was published of it earlier: every checkpoint by a proof, every entry byte by byte."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import AppError
from governance.proof import merkle
from governance.proof.checkpoint import Checkpoint, verify_checkpoint
from governance.verify.bundle import verify_bundle
from governance.verify.earlier import Earlier, read_earlier
from governance.verify.entries import canonical_object
from governance.verify.findings import BundleVerdict, Finding
from governance.verify.origins import KEY_KINDS, followed, read_change
from governance.verify.recoveries import RECOVERED_KIND, Recovery, disowned, read_recovery, signed


@dataclass(frozen=True)
class AgainstVerdict:
    """`words` say what was proved; `findings` what differs."""

    name: str
    findings: tuple[Finding, ...]
    words: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.findings


def hold_against(lines: Sequence[bytes], earlier: Earlier, vkeys: Sequence[str], *, whole: bool) -> AgainstVerdict:
    """
    Args:
        lines: the exact entries of the log, in order.
        vkeys: keys trusted to sign its checkpoints.
        whole: the log is all there is, so it must have every entry that was published. The log of a bundle ends where
            the bundle was made, and may be older than what it is held against.
    """
    return _Held(lines, earlier, vkeys, whole=whole).verdict()


def held_bundle(path: Path, trusted: Sequence[str] | None, earlier: Sequence[Earlier]) -> BundleVerdict:
    """As `verify_bundle`; the log in the bundle must also agree with what was published earlier, or after it."""
    verdict = verify_bundle(path, trusted)
    if not earlier:
        return verdict
    own = read_earlier(path)
    lines = [line for _, line in sorted(own.entries.items())]
    held = [hold_against(lines, one, trusted or own.vkeys, whole=False) for one in earlier]
    findings = tuple(finding for one in held for finding in one.findings)
    words = tuple(f"{one.name}: {words}" for one in held for words in one.words)
    return replace(verdict, findings=verdict.findings + findings, held=words)


class _Held:
    def __init__(self, lines: Sequence[bytes], earlier: Earlier, vkeys: Sequence[str], *, whole: bool) -> None:
        self._lines, self._earlier, self._whole = lines, earlier, whole
        self._leaves = [merkle.leaf_hash(line) for line in lines]
        self._keys, self._recoveries = _followed(lines, vkeys)
        self._findings: list[Finding] = []
        self._words: list[str] = []
        self._first = self._first_that_differs()

    def verdict(self) -> AgainstVerdict:
        if self._earlier.broken:
            self._add("against.invalid", "a bundle that verifies", self._earlier.broken)
        heads = [head for note in self._earlier.notes if (head := self._opened(note)) is not None]
        roots = self._roots({head.size for head in heads})
        agreeing = [head for head in heads if roots.get(head.size) == head.root]
        if agreeing:
            self._prove(max(agreeing, key=lambda one: one.size), len(agreeing))
        for head in sorted(heads, key=lambda one: one.size):
            if head not in agreeing:
                self._hold(head, max((one.size for one in agreeing if one.size < head.size), default=0))
        lost = any(disowned(head, self._recoveries) for head in heads)
        if self._first is not None and not self._findings and not lost:
            self._add("against.entry", "the entry that was published", self._named(self._first))
        same = sum(index < len(self._lines) for index in self._earlier.entries)
        if same and self._first is None:
            self._words.append(f"{same} entries are byte for byte the same")
        return AgainstVerdict(self._earlier.name, tuple(self._findings), tuple(self._words))

    def _add(self, what: str, expected: str, found: str) -> None:
        self._findings.append(Finding(what, self._earlier.name, expected, found))

    def _opened(self, note: str) -> Checkpoint | None:
        try:
            return verify_checkpoint(note, self._keys)
        except AppError as error:
            self._add("against.signature", "a checkpoint signed by a key of this log", error.message)
            return None

    def _roots(self, sizes: set[int]) -> dict[int, bytes]:
        frontier = merkle.Frontier()
        roots = {0: frontier.root()}
        for leaf in self._leaves:
            frontier.append(leaf)
            if frontier.size in sizes:
                roots[frontier.size] = frontier.root()
        return roots

    def _prove(self, head: Checkpoint, agreeing: int) -> None:
        """The entries of the largest checkpoint that agrees begin the log; so do those of the others."""
        count = len(self._leaves)
        proof = merkle.consistency_proof(self._leaves, head.size, count)
        if merkle.verify_consistency(head.size, count, head.root, merkle.root(self._leaves), proof):
            many = f"{agreeing} checkpoints agree; of the newest, " if agreeing > 1 else ""
            hashes = "1 hash" if len(proof) == 1 else f"{len(proof)} hashes"
            self._words.append(
                f"{many}its {head.size} entries are the first of the {count} here, as a consistency proof of {hashes} "
                "shows"
            )

    def _hold(self, head: Checkpoint, agreed: int) -> None:
        count = len(self._leaves)
        lost = next((recovery for recovery in self._recoveries if recovery.disowns(head)), None)
        if lost is not None:
            self._words.append(f"a checkpoint of {head.size} entries is of the part that was lost: {lost}")
        elif head.size > count and self._first is None:
            self._hold_larger(head, count)
        elif self._first is not None:
            self._add("against.entry", f"the entry that was published and signed ({head.size} entries)",
                      self._named(self._first))  # fmt: skip
        else:
            between = f"entries {agreed} to {head.size - 1} hold the first that differs"
            self._add("against.root", f"root {head.root.hex()} over {head.size} entries", f"another; {between}")

    def _hold_larger(self, head: Checkpoint, count: int) -> None:
        if self._whole:
            missing = self._published(count)
            self._add("against.missing", f"the {head.size} entries that were signed",
                      f"{count}; the first that is missing is {missing}")  # fmt: skip
        elif self._earlier.entries:
            self._words.append(f"it is the longer one, of {head.size} entries, and begins with the {count} here")
        else:
            self._add("against.larger", f"a checkpoint of at most {count} entries",
                      f"one of {head.size}; hold the newer bundle against this one instead")  # fmt: skip

    def _first_that_differs(self) -> int | None:
        """The first entry that both have and that differs, or that a whole log lacks."""
        for index, line in sorted(self._earlier.entries.items()):
            if index >= len(self._lines):
                no_note = self._whole and not self._earlier.notes
                return index if no_note else None
            if self._lines[index] != line:
                return index
        return None

    def _named(self, index: int) -> str:
        here = _words(self._lines[index]) if index < len(self._lines) else "nothing"
        return f"entry {index} is the first that differs: here {here}, published {self._published(index)}"

    def _published(self, index: int) -> str:
        line = self._earlier.entries.get(index)
        return f"entry {index}" if line is None else _words(line, index)


def _words(line: bytes, index: int | None = None) -> str:
    number = "" if index is None else f"entry {index}, "
    try:
        entry = json.loads(line)
        return f"{number}{entry['kind']} of {entry['subject']} at {entry['at']} ({merkle.leaf_hash(line).hex()[:16]})"
    except (ValueError, KeyError, TypeError):
        return f"{number}unreadable bytes"


def _followed(lines: Sequence[bytes], vkeys: Sequence[str]) -> tuple[list[str], list[Recovery]]:
    """The trusted keys with those that they vouch for in this log, and its recoveries."""
    changes, recoveries = [], []
    for line in lines:
        for kind in (*KEY_KINDS, RECOVERED_KIND):
            if f'"kind":"{kind}"'.encode() in line and (entry := canonical_object(line)[0]) is not None:
                if kind in KEY_KINDS and (change := read_change(entry, None)[0]) is not None:
                    changes.append(change)
                elif kind == RECOVERED_KIND and (recovery := read_recovery(entry)[0]) is not None:
                    recoveries.append(recovery)
    keys, _ = followed(vkeys, changes)
    return keys, signed(recoveries, keys)[0]
