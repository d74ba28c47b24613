"""The result of a verification: findings, facts and a verdict."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import NotFoundError
from governance.proof.checkpoint import Checkpoint

SELF_SIGNED: Final = "self-signed: key not checked against an anchor"
ANCHORED: Final = "signed by a trusted key"
VOUCHED: Final = "signed by the key of a copy, which a trusted key names in the ledger"
MAX_FINDINGS: Final = 50


@dataclass(frozen=True)
class Finding:
    """One problem: `what` is a stable code, `where` an entry, a checkpoint or a bundle member."""

    what: str
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Facts:
    """What was read: number of entries, largest checkpoint that verifies (size, hexadecimal root), its signers."""

    entries: int = 0
    size: int | None = None
    root: str | None = None
    origin: str | None = None
    signers: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()  # where the log went on as that of a copy, in words


@dataclass(frozen=True)
class Verdict:
    findings: tuple[Finding, ...]
    facts: Facts

    @property
    def ok(self) -> bool:
        return not self.findings


@dataclass(frozen=True)
class LogVerdict(Verdict):
    """`first_wrong` is the first entry with a problem of its own. `interval` (first and last index) is the smallest
    range between checkpoints that contains the first change, known from roots alone. `unsigned` counts the entries
    after the last checkpoint, which no signature covers yet."""

    first_wrong: int | None = None
    interval: tuple[int, int] | None = None
    unsigned: int = 0


@dataclass(frozen=True)
class EntryVerdict(Verdict):
    pass


@dataclass(frozen=True)
class BundleVerdict(Verdict):
    trust: str = SELF_SIGNED


class BundleNotFoundError(NotFoundError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"bundle {path} cannot be read: {reason}", path=str(path))
        self.path = path


def facts_of(entries: int, head: Checkpoint | None, files: tuple[str, ...] = ()) -> Facts:
    if head is None:
        return Facts(entries=entries, files=files)
    return Facts(entries, head.size, head.root.hex(), head.origin, head.signers, files)
