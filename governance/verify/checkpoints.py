"""Open the signed checkpoints that a log is checked against."""

from collections.abc import Sequence

from core.errors import AppError
from governance.proof.checkpoint import SIZE, Checkpoint, verify_checkpoint
from governance.verify.findings import Finding


def open_checkpoints(notes: Sequence[str], vkeys: Sequence[str]) -> tuple[list[tuple[Checkpoint, str]], list[Finding]]:
    heads: list[tuple[Checkpoint, str]] = []
    findings: list[Finding] = []
    for position, note in enumerate(notes):
        where = f"checkpoint {position}" if len(notes) > 1 else "checkpoint"
        head, failed = open_checkpoint(note, vkeys, where)
        findings += failed
        if head is None:
            continue
        heads.append((head, f"{where} (size {head.size})"))
    if not notes:
        findings.append(Finding("checkpoint.none", "log", "at least one signed checkpoint", "none"))
    return heads, findings


def fork_findings(heads: Sequence[tuple[Checkpoint, str]]) -> list[Finding]:
    """A finding for each second root of one size: both are signed, so the log has shown two histories.

    The pair is evidence against the signer.
    """
    findings: list[Finding] = []
    by_size: dict[int, bytes] = {}
    for head, where in heads:
        if by_size.setdefault(head.size, head.root) != head.root:
            findings.append(Finding("checkpoint.fork", where, by_size[head.size].hex(), head.root.hex()))
    return findings


def claimed_sizes(notes: Sequence[str]) -> set[int]:
    """The sizes that checkpoints name, whoever signed them."""
    lines = [note.split("\n", 2)[1:2] for note in notes]
    return {int(line[0]) for line in lines if line and SIZE.fullmatch(line[0])}


def open_checkpoint(note: str, vkeys: Sequence[str], where: str) -> tuple[Checkpoint | None, list[Finding]]:
    try:
        return verify_checkpoint(note, vkeys), []
    except AppError as error:
        return None, [Finding("checkpoint.signature", where, "a checkpoint signed by a known key", error.message)]
