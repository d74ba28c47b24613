"""Derive from the ledger which files a model's tables must consist of, and compare a folder with that. Pure.

It needs only the standard library, canonical JSON and the Merkle hashes. It reads the bytes of data files and the JSON
entries of a Delta log; it opens no Parquet file.

What is recorded. A `lake.digest` entry lists the files that commits added since the previous entry; a `lake.rewrite`
entry lists the files that a commit replaced or dropped, with the cause. Each entry names a leaf list: an artifact,
found by its digest, with the path, SHA-256, rows and Delta version of every file and the SHA-256 of the Delta log's
own entries and checkpoints. The entries of one table form a chain: each holds the digest of the one before.

What it proves. Every file and every entry of the Delta log that differs from the record, is missing or was added is
named. It trusts the ledger's entries (verify them first), SHA-256, and that the service recorded what it wrote: up to
an hour passes between a commit and its record, and a change within that hour is not detected. `_last_checkpoint` and
the indexes in folders that begin with `_` are rebuilt from the rest and are not covered.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from core.artifacts import file_digest
from core.canonical import canonical, sha256
from governance.proof import merkle
from governance.verify.findings import Finding

DIGEST: Final = "lake.digest"
REWRITE: Final = "lake.rewrite"
FORMAT: Final = "assay-leaves/1"
LOG: Final = "_delta_log"
# A writer adds a file to the log after writing it, so files younger than this may belong to a commit under way.
UNDER_WAY: Final = timedelta(hours=1)
_ENTRY: Final = re.compile(r"\d{20}\.json", re.ASCII)
_CHECKPOINT: Final = re.compile(r"(\d{20})\.checkpoint[0-9A-Za-z.\-]*\.parquet", re.ASCII)
_PATH: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._=%-]*(/[A-Za-z0-9][A-Za-z0-9._=%-]*)*", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Leaf:
    """A data file as a commit added or removed it."""

    path: str  # relative to the table's folder
    sha256: str | None  # None: the file was removed before it was first recorded
    rows: int
    version: int  # of the Delta commit

    def row(self) -> list[Any]:
        return [self.path, self.sha256, self.rows, self.version]


def leaves_root(leaves: Iterable[Leaf]) -> str:
    """Merkle root (RFC 6962) over the canonical JSON of the sorted leaves, hexadecimal."""
    return merkle.root([merkle.leaf_hash(canonical(leaf.row())) for leaf in sorted(leaves)]).hex()


@dataclass(frozen=True, slots=True)
class LeafList:
    """The files that an entry's commits added and removed, and the log files by name with their SHA-256."""

    added: tuple[Leaf, ...]
    removed: tuple[Leaf, ...]
    log: Mapping[str, str]

    def to_bytes(self) -> bytes:
        return canonical(
            {
                "format": FORMAT, "added": [leaf.row() for leaf in sorted(self.added)],
                "removed": [leaf.row() for leaf in sorted(self.removed)], "log": dict(self.log),
            }
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, data: bytes) -> "LeafList":
        """Raises ValueError if the bytes are not a leaf list."""
        document = json.loads(data)
        if document.get("format") != FORMAT:
            raise ValueError(f"format {document.get('format')!r}, {FORMAT!r} expected")
        added, removed = (tuple(Leaf(*row) for row in document[side]) for side in ("added", "removed"))
        for leaf in (*added, *removed):
            if not _PATH.fullmatch(leaf.path):
                raise ValueError(f"path {leaf.path!r} leaves the table's folder")
        return cls(added, removed, dict(document["log"]))


def body(model: str, table: str, versions: tuple[int, int], listed: LeafList, previous: str | None) -> dict[str, Any]:
    """The body of an entry: counts and roots. The files themselves are in the leaf list."""
    return {
        "model": model, "table": table, "from_version": versions[0], "to_version": versions[1],
        "files": len(listed.added), "rows": sum(leaf.rows for leaf in listed.added),
        "root": leaves_root(listed.added), "removed_files": len(listed.removed),
        "removed_rows": sum(leaf.rows for leaf in listed.removed), "removed_root": leaves_root(listed.removed),
        "leaves": sha256(listed.to_bytes()), "previous": previous,
    }  # fmt: skip


# --- expected --------------------------------------------------------------------------------------------------------


@dataclass
class Expected:
    """One table as its entries describe it."""

    live: dict[str, Leaf] = field(default_factory=dict)
    gone: dict[str, Leaf] = field(default_factory=dict)  # removed from the table; the file may still lie there
    log: dict[str, str] = field(default_factory=dict)
    version: int = -1  # last Delta version covered
    previous: str | None = None  # digest of the last entry
    at: str = ""  # time of the last entry
    broken: bool = False  # an entry or its leaf list failed a check, so what it covers is unknown


@dataclass
class Expectation:
    tables: dict[tuple[str, str], Expected]
    findings: list[Finding]


def expected_files(entries: Iterable[Mapping[str, Any]], leaf_list: Callable[[str], bytes | None]) -> Expectation:
    """The files each table must consist of.

    Args:
        entries: ledger entries in order; kinds other than `lake.digest` and `lake.rewrite` are skipped.
        leaf_list: returns the bytes of the artifact with a digest, or None if there is none.
    """
    found = Expectation({}, [])
    for entry in entries:
        if entry["kind"] not in (DIGEST, REWRITE):
            continue
        recorded = entry["body"]
        table = found.tables.setdefault((recorded["model"], recorded["table"]), Expected())
        where = f"ledger entry {entry['index']}"
        problems = list(_follow(table, recorded, leaf_list, where))
        table.broken |= bool(problems)
        found.findings += problems
        table.version, table.previous, table.at = recorded["to_version"], sha256(canonical(entry)), entry["at"]
    return found


def _follow(
    table: Expected, recorded: Mapping[str, Any], leaf_list: Callable[[str], bytes | None], where: str
) -> Iterable[Finding]:
    if recorded["previous"] != table.previous or recorded["from_version"] != table.version + 1:
        wanted = f"version {table.version + 1} after {table.previous}"
        yield Finding("lake.chain", where, wanted, f"version {recorded['from_version']} after {recorded['previous']}")
    data = leaf_list(recorded["leaves"])
    if data is None:
        yield Finding("lake.leaves", where, f"artifact {recorded['leaves']}", "no such file")
        return
    if sha256(data) != recorded["leaves"]:
        yield Finding("lake.leaves", where, f"artifact {recorded['leaves']}", f"bytes with digest {sha256(data)}")
        return
    try:
        listed = LeafList.from_bytes(data)
    except (ValueError, KeyError, TypeError) as error:
        yield Finding("lake.leaves", where, "a leaf list", str(error))
        return
    roots = (leaves_root(listed.added), leaves_root(listed.removed))
    if roots != (recorded["root"], recorded["removed_root"]):
        yield Finding("lake.root", where, f"{recorded['root']} and {recorded['removed_root']}", " and ".join(roots))
    # By version: a file that one commit of the entry added and a later one removed ends among the removed.
    for leaf, adds in sorted(
        [*((leaf, True) for leaf in listed.added), *((leaf, False) for leaf in listed.removed)],
        key=lambda pair: (pair[0].version, pair[1]),
    ):
        if adds:
            table.live[leaf.path] = leaf
        elif table.live.pop(leaf.path, None) is None:
            yield Finding("lake.removed", where, f"{leaf.path} among the files before", "it was not")
        else:
            table.gone[leaf.path] = leaf
    table.log |= listed.log


# --- folder ----------------------------------------------------------------------------------------------------------


@dataclass
class LakeVerdict:
    """`files`: compared files. `pending`: files newer than the last record, which nothing covers yet."""

    findings: list[Finding]
    tables: int = 0
    files: int = 0
    pending: int = 0

    @property
    def ok(self) -> bool:
        return not self.findings


def verify_lake(root: Path, expectation: Expectation) -> LakeVerdict:
    """Compare a lake's folder with what the ledger records.

    A folder `model/table` without an entry is pending as a whole, unless it is older than the newest record.
    """
    verdict = LakeVerdict(list(expectation.findings))
    newest = max((t.at for t in expectation.tables.values()), default="")
    present = {(p.parent.parent.name, p.parent.name) for p in root.glob(f"*/*/{LOG}")}
    for model, table in sorted(present | expectation.tables.keys()):
        expected = expectation.tables.get((model, table), Expected(at=newest))
        if not expected.broken:
            _Check(root / model / table, f"{model}/{table}", expected, verdict).run()
        verdict.tables += 1
    return verdict


class _Check:
    """Compares one table's folder with its expected files, and adds to the verdict."""

    def __init__(self, folder: Path, name: str, expected: Expected, verdict: LakeVerdict) -> None:
        self.folder, self.name, self.expected, self.verdict = folder, name, expected, verdict
        self.cutoff = 0.0
        if expected.at:
            self.cutoff = (datetime.fromisoformat(expected.at) - UNDER_WAY).timestamp()

    def run(self) -> None:
        added, removed = self._later_commits()
        for leaf in self.expected.live.values():
            if leaf.path in removed and not (self.folder / leaf.path).exists():
                self.verdict.pending += 1
            else:
                self._same(leaf.path, leaf.sha256)
        for leaf in self.expected.gone.values():
            if (self.folder / leaf.path).exists():
                self._same(leaf.path, leaf.sha256)
        self._log()
        for path in sorted(self.folder.rglob("*")):
            inside = path.relative_to(self.folder)
            known = inside.as_posix() in self.expected.live or inside.as_posix() in self.expected.gone
            if path.is_file() and not known and not inside.parts[0].startswith(("_", ".")):
                self._stranger(inside.as_posix(), path, named=inside.as_posix() in added)

    def _log(self) -> None:
        names = self.expected.log
        kept = [int(m[1]) for n in names if (m := _CHECKPOINT.fullmatch(n)) and (self.folder / LOG / n).exists()]
        summed = max(kept, default=-1)  # log cleaning may have deleted entries up to here
        for name, digest in names.items():
            if int(name[:20]) > summed or (self.folder / LOG / name).exists():
                self._same(f"{LOG}/{name}", digest)
        for path in sorted((self.folder / LOG).glob("*")) if (self.folder / LOG).is_dir() else ():
            if path.name not in names and (_ENTRY.fullmatch(path.name) or _CHECKPOINT.fullmatch(path.name)):
                later = _ENTRY.fullmatch(path.name) is not None and int(path.stem) > self.expected.version
                self._stranger(f"{LOG}/{path.name}", path, named=later)

    def _same(self, path: str, digest: str | None) -> None:
        where = f"{self.name}/{path}"
        try:
            found = file_digest(self.folder / path)
        except OSError as error:
            self._add("lake.missing", where, digest or "a file", error.strerror or str(error))
            return
        self.verdict.files += 1
        if digest is not None and found != digest:
            self._add("lake.changed", where, digest, found)

    def _stranger(self, path: str, file: Path, *, named: bool) -> None:
        if named or file.stat().st_mtime >= self.cutoff:
            self.verdict.pending += 1
        else:
            self._add("lake.unexpected", f"{self.name}/{path}", "no file that no record names", "a file")

    def _later_commits(self) -> tuple[set[str], set[str]]:
        """Paths added and removed by commits after the last record."""
        added: set[str] = set()
        removed: set[str] = set()
        for path in sorted((self.folder / LOG).glob("*.json")) if (self.folder / LOG).is_dir() else ():
            if not _ENTRY.fullmatch(path.name) or int(path.stem) <= self.expected.version:
                continue
            try:
                commit = read_commit(path.read_bytes())
            except (ValueError, KeyError, TypeError) as error:
                self._add("lake.log", f"{self.name}/{LOG}/{path.name}", "a Delta log entry", str(error))
                continue
            added.update(leaf.path for leaf in commit.added)
            removed.update(commit.removed)
        return added, removed

    def _add(self, what: str, where: str, expected: str, found: str) -> None:
        self.verdict.findings.append(Finding(what, where, expected, found))


@dataclass(frozen=True, slots=True)
class AddedFile:
    path: str
    rows: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The files that one Delta log entry adds and removes."""

    operation: str
    added: tuple[AddedFile, ...]
    removed: tuple[str, ...]


def read_commit(data: bytes) -> Commit:
    """Read one Delta log entry. Raises ValueError, KeyError or TypeError if the bytes are not one."""
    actions: Sequence[Mapping[str, Any]] = [json.loads(line) for line in data.splitlines() if line.strip()]
    operation = next((a["commitInfo"].get("operation", "") for a in actions if "commitInfo" in a), "")
    added = tuple(
        AddedFile(a["add"]["path"], int(json.loads(a["add"].get("stats") or "{}").get("numRecords", 0)))
        for a in actions
        if "add" in a
    )
    return Commit(str(operation), added, tuple(a["remove"]["path"] for a in actions if "remove" in a))
