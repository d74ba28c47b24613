"""The result of a verification: findings, facts and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import NotFoundError
from governance.proof.checkpoint import Checkpoint

SELF_SIGNED: Final = "self-signed: key not checked against an anchor"
ANCHORED: Final = "signed by a trusted key"
VOUCHED: Final = "signed by the key of a copy, which a trusted key names in the ledger"
SUCCEEDED: Final = "signed by a later key of the ledger, which a trusted key names in it as its successor"
UNSURE: Final = (
    "signed by the successor of a trusted key that was declared compromised: whoever else holds that key could have "
    "named another; get the present key from its publisher"
)
MAX_FINDINGS: Final = 50
OK, FAILED, SIGNER_UNKNOWN = 0, 1, 5  # exit codes


@dataclass(frozen=True)
class Finding:
    """One problem: `what` is a stable code, `where` an entry, a checkpoint or a bundle member.

    `repair` is the command that mends it, where what is damaged follows from something that is sound.
    """

    what: str
    where: str
    expected: str
    found: str
    repair: str = ""

    def __str__(self) -> str:
        mend = f"; repair: {self.repair}" if self.repair else ""
        return f"{self.where}: {self.what}; expected {self.expected}, found {self.found}{mend}"


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
    rotated: tuple[str, ...] = ()  # where its key was rotated
    printed: str = ""  # how the figures of its report were held against the ledger, in words
    recovered: tuple[str, ...] = ()  # where its end was lost and it went on, on record, in words


@dataclass(frozen=True)
class Verdict:
    findings: tuple[Finding, ...]
    facts: Facts

    @property
    def ok(self) -> bool:
        return not self.findings


@dataclass(frozen=True)
class RowsFacts:
    """Rows that were held against the ledger; `unbound` of them are from before binding began at `since`."""

    rows: int
    unbound: int
    since: str | None

    @property
    def words(self) -> str:
        if self.since is None:
            return "no row is bound yet: no release that binds rows has started here"
        said = f"{self.rows:,} rows that reports and pages show are as the ledger bound them"
        if not self.unbound:
            return said
        return f"{said}; {self.unbound:,} of them are from before {self.since[:19]}Z, not bound at their time"


@dataclass(frozen=True)
class LogVerdict(Verdict):
    """`first_wrong` is the first entry with a problem of its own. `interval` (first and last index) is the smallest
    range between checkpoints that contains the first change, known from roots alone. `unsigned` counts the entries
    after the last checkpoint, which no signature covers yet."""

    first_wrong: int | None = None
    interval: tuple[int, int] | None = None
    unsigned: int = 0
    rows: RowsFacts | None = None  # of an installation


@dataclass(frozen=True)
class EntryVerdict(Verdict):
    pass


@dataclass(frozen=True)
class BundleVerdict(Verdict):
    """`ok` says that the bundle agrees with itself; only with `signer_known` does it prove whose it is.

    `packing` notes how the bundle was packed otherwise than Assay packs it, which changes nothing that it says.
    """

    trust: str = SELF_SIGNED
    packing: tuple[Finding, ...] = ()
    held: tuple[str, ...] = ()  # what it was held against, in words

    @property
    def signer_known(self) -> bool:
        """Whether a key that the reader trusts has signed it, or vouches for the key that has."""
        return self.trust in (ANCHORED, VOUCHED, SUCCEEDED)

    @property
    def words(self) -> str:
        """The verdict in a few words."""
        if self.findings:
            return f"FAILED, {len(self.findings)} finding(s)"
        return "OK" if self.signer_known else "consistent; signer unknown"

    @property
    def exit_code(self) -> int:
        """Of a command that verifies it: anybody can make a consistent bundle under a key of their own."""
        return FAILED if self.findings else OK if self.signer_known else SIGNER_UNKNOWN


def exit_code(verdicts: Sequence[BundleVerdict]) -> int:
    """Of a command that verifies several bundles: a failure weighs more than an unknown signer."""
    codes = {verdict.exit_code for verdict in verdicts}
    return next((code for code in (FAILED, SIGNER_UNKNOWN) if code in codes), OK)


class BundleNotFoundError(NotFoundError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"bundle {path} cannot be read: {reason}", path=str(path))
        self.path = path


def facts_of(entries: int, head: Checkpoint | None, files: tuple[str, ...] = ()) -> Facts:
    if head is None:
        return Facts(entries=entries, files=files)
    return Facts(entries, head.size, head.root.hex(), head.origin, head.signers, files)
