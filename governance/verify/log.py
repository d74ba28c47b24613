"""Check a whole log: every entry, its hashes, its roots and its checkpoints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from governance.proof import merkle
from governance.proof.checkpoint import Checkpoint
from governance.verify.checkpoints import claimed_sizes, fork_findings, open_checkpoints
from governance.verify.entries import entry_findings
from governance.verify.findings import MAX_FINDINGS, Finding, LogVerdict, facts_of
from governance.verify.origins import KEY_KINDS, KeyStep, followed, origin_findings, read_change, unsure
from governance.verify.recoveries import RECOVERED_KIND, Recovery, disowned, read_recovery, signed


def verify_log(
    lines: Iterable[bytes],
    checkpoints: Sequence[str],
    vkeys: Sequence[str],
    *,
    leaves: Sequence[bytes | str] | None = None,
) -> LogVerdict:
    """Recompute the tree over the entries and compare it with every checkpoint.

    Args:
        lines: exact bytes of each entry in order, with or without the final newline; read once, not kept in memory.
        checkpoints: signed notes in any order; all must verify and name the origin of their part of the log, which is
            the same for all parts unless the log is that of a copy (`governance.verify.origins`).
        vkeys: keys trusted to sign them; a key that one of them names as its successor in the log is trusted too.
        leaves: the leaf hash stored with each entry, if there is one: bytes, or the stored hexadecimal text, which
            may itself be damaged. With it, an altered entry is named exactly.

    A matching root proves all entries below it. The first root that does not match therefore confines the change to
    the entries after the last one that does. All roots come from one sequence of entries, so two checkpoints that
    match are also consistent with each other.
    """
    scan = LogScan(leaves)
    roots: dict[int, bytes] = {}
    sizes = claimed_sizes(checkpoints)
    if 0 in sizes:
        roots[0] = merkle.EMPTY_ROOT
    for line in lines:
        scan.add(line.removesuffix(b"\n"))
        if scan.frontier.size in sizes:
            roots[scan.frontier.size] = scan.frontier.root()
    scan.finish()
    count = scan.frontier.size
    keys, changes = followed(vkeys, scan.changes)
    heads, findings = open_checkpoints(checkpoints, keys)
    recoveries, unsigned = signed(scan.recoveries, keys)
    findings += unsigned
    if (doubt := unsure(vkeys, scan.changes)) is not None:
        findings.append(Finding("key.compromised", f"entry {doubt.index}", "the key after it as trusted", str(doubt)))
    # A checkpoint of a part that was lost, and whose loss is on record, is no evidence against what came after it.
    heads = [
        (head, where)
        for head, where in heads
        if roots.get(head.size) == head.root or not disowned(head, recoveries)
    ]  # fmt: skip
    findings += [*origin_findings(heads, changes), *fork_findings(heads)]
    interval, proven, root_findings = compare_roots(heads, roots, count)
    findings = [*blame_stored_hashes(scan.findings, proven), *findings, *root_findings]
    if scan.suppressed:
        findings.append(Finding("entry.more", "log", "none", f"{scan.suppressed} more wrong entries, not listed"))
    covered = max((head.size for head, _ in heads), default=0)
    return LogVerdict(
        tuple(findings),
        replace(
            facts_of(count, proven),
            copied=tuple(str(change) for change in changes if change.copied),
            rotated=tuple(str(change) for change in changes if not change.copied),
            recovered=tuple(map(str, recoveries)),
        ),
        first_wrong=scan.first_wrong,
        interval=interval,
        unsigned=max(0, count - covered),
    )


class LogScan:
    """Reads entries one by one: extends the tree and collects findings about single entries."""

    def __init__(self, leaves: Sequence[bytes | str] | None) -> None:
        self.frontier = merkle.Frontier()
        self.findings: list[Finding] = []
        self.suppressed = 0
        self.changes: list[KeyStep] = []
        self.recoveries: list[Recovery] = []
        self.first_wrong: int | None = None
        self._leaves = None if leaves is None else [x if isinstance(x, str) else x.hex() for x in leaves]
        self._expected = 0

    def add(self, line: bytes) -> None:
        position = self.frontier.size
        leaf = merkle.leaf_hash(line)
        where = f"entry {position}"
        entry, found = entry_findings(line, self._expected, where)
        if entry is not None and not found and entry["kind"] in KEY_KINDS:
            change, found = read_change(entry, self.frontier.root())
            self.changes += [change] if change else []
        if entry is not None and not found and entry["kind"] == RECOVERED_KIND:
            recovery, found = read_recovery(entry)
            self.recoveries += [recovery] if recovery else []
        self.frontier.append(leaf)
        # After a gap, counting continues from the index found, so one missing entry gives one finding.
        index = entry.get("index") if entry else None
        self._expected = index + 1 if isinstance(index, int) and not isinstance(index, bool) else self._expected + 1
        if self._leaves is not None and position < len(self._leaves) and self._leaves[position] != leaf.hex():
            found.append(Finding("entry.leaf_hash", where, f"leaf hash {self._leaves[position]!r}", repr(leaf.hex())))
        self._keep(found, position)

    def finish(self) -> None:
        if self._leaves is not None and len(self._leaves) != self.frontier.size:
            found = f"{self.frontier.size} entries"
            wanted = f"{len(self._leaves)} entries, as many as stored leaf hashes"
            self._keep([Finding("log.count", "log", wanted, found)], min(len(self._leaves), self.frontier.size))

    def _keep(self, findings: list[Finding], position: int) -> None:
        if findings and self.first_wrong is None:
            self.first_wrong = position
        room = max(0, MAX_FINDINGS - len(self.findings))
        self.findings += findings[:room]
        self.suppressed += len(findings[room:])


def blame_stored_hashes(findings: Sequence[Finding], proven: Checkpoint | None) -> list[Finding]:
    """Blame the stored hash, not the entry, where a checkpoint proves the entry."""
    size = proven.size if proven else 0
    return [
        replace(f, what="entry.stored_leaf_hash", expected=f.found, found=f.expected)
        if f.what == "entry.leaf_hash" and int(f.where.removeprefix("entry ")) < size
        else f
        for f in findings
    ]


def compare_roots(
    heads: Sequence[tuple[Checkpoint, str]], roots: Mapping[int, bytes], count: int
) -> tuple[tuple[int, int] | None, Checkpoint | None, list[Finding]]:
    """The smallest interval known to contain a change, the largest head that matches, and a finding for each other."""
    proven: Checkpoint | None = None
    interval: tuple[int, int] | None = None
    findings: list[Finding] = []
    for head, where in sorted(heads, key=lambda pair: pair[0].size):
        start = proven.size if proven else 0
        if head.size > count:
            missing = f"{count} entries; {count} to {head.size - 1} are missing"
            findings.append(Finding("log.truncated", where, f"{head.size} entries", missing))
        elif roots[head.size] != head.root:
            interval = interval or (start, head.size - 1)
            span = f"entries {start} to {head.size - 1}" if head.size else "no entries"
            found = f"{roots[head.size].hex()} ({span} hold the change)"
            findings.append(Finding("checkpoint.root", where, head.root.hex(), found))
        else:
            proven = head
    return interval, proven, findings
