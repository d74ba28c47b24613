"""The mutation campaign: each change is made, looked for, and undone; what was not found or not named is told."""

import re
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from bench.proofs import bundle_mutations, log_mutations, row_mutations
from bench.proofs.installation import Installation
from governance.ledger import guard
from governance.ledger.extends import Places
from governance.ledger.selfcheck import verify_ledger
from governance.verify.bundle import verify_bundle_bytes
from governance.verify.findings import Finding
from governance.verify.manifest import MANIFEST_NOTE
from monitor.tables import Alert, Measurement, Window

Named = tuple[str, ...]
SHARES: Final = (("rows", 0.62), ("log", 0.2), ("bundle", 0.13), ("anchor", 0.05))  # of all changes
_NUMBERS: Final = re.compile(r"(\d+) to (\d+)")


@dataclass
class Outcome:
    """`missed` and `unnamed` tell each change that was not found, or found without its name."""

    tried: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)

    def take(self, kind: str, what: Named, findings: Sequence[Finding], named: bool) -> None:
        self.tried[kind] += 1
        if not findings:
            self.missed.append(f"{kind} of {what}")
        elif not named:
            self.unnamed.append(f"{kind} of {what}: {'; '.join(map(str, findings))[:400]}")

    @property
    def count(self) -> int:
        return self.tried.total()


class Campaign:
    def __init__(self, installation: Installation, seed: int = 0) -> None:
        self.installation, self.random = installation, Random(seed)
        self.targets = row_mutations.targets()
        self.outcome = Outcome()
        self.members = bundle_mutations.members_of(installation.bundle)
        path = installation.home / "assay.db"
        self._engine = create_engine("sqlite://", creator=partial(_connect, path), poolclass=NullPool)

    def run(self, count: int) -> Outcome:
        """Make changes until so many were made; a change that came out as what was there does not count."""
        kinds = [kind for kind, _ in SHARES]
        weights = [share for _, share in SHARES]
        while self.outcome.count < count:
            match self.random.choices(kinds, weights)[0]:
                case "rows":
                    self._row(self.random.choice(self.targets), self.random.choice(list(row_mutations.KINDS)))
                case "log":
                    self._log(self.random.choice(list(log_mutations.KINDS)))
                case "bundle":
                    self._bundle(self.random.choice(list(bundle_mutations.KINDS)))
                case _:
                    self._anchor()
        return self.outcome

    def each_kind(self) -> Outcome:
        """Make one change of each kind, and one of each table."""
        for number, target in enumerate(self.targets):
            kinds = list(row_mutations.KINDS)
            self._until_found(
                partial(self._row, target, kinds[number % len(kinds)]), partial(self._row, target, "flip")
            )
        for kind in log_mutations.KINDS:
            self._until_found(partial(self._log, kind))
        for kind in bundle_mutations.KINDS:
            self._until_found(partial(self._bundle, kind))
        self._until_found(self._anchor)
        return self.outcome

    def _until_found(self, *makers: Callable[[], None]) -> None:
        before = self.outcome.count
        for number in range(40):
            makers[min(number // 20, len(makers) - 1)]()
            if self.outcome.count > before:
                return
        raise AssertionError(f"{makers[0]} changed nothing")

    def every_column(self) -> Outcome:
        """Change each bound column of each table once."""
        for target in self.targets:
            for column in target.columns:
                for _ in range(20):
                    with self._attacked() as (connection, db):
                        found = row_mutations.rows(connection, target)
                        assert found, f"the story of bench.proofs.installation has no row of {target.name}"
                        row = self.random.choice(found)
                        change = partial(row_mutations.flip_column, row=row, column=column)
                        if self._look(f"flip {target.name}.{column}", change, connection, db, target):
                            break
                else:
                    self.outcome.missed.append(f"{target.name}.{column} could not be changed")
        return self.outcome

    @contextmanager
    def _attacked(self) -> Iterator[tuple[sqlite3.Connection, Session]]:
        """A transaction of somebody who owns the database; it is rolled back."""
        with self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            connection.begin()
            raw.execute("BEGIN")
            guard.remove(connection)
            try:
                with Session(connection) as db:
                    yield raw, db
            finally:
                raw.execute("ROLLBACK")

    def _look(
        self, kind: str, change: Callable[..., Named | None], connection: sqlite3.Connection, db: Session,
        target: row_mutations.Target,
    ) -> bool:  # fmt: skip
        """Make a change of a row and look for it; False if nothing changed."""
        try:
            what = change(self.random, connection, target)
        except (sqlite3.IntegrityError, ValueError, OverflowError):
            return False  # the database itself refuses it
        if what is None:
            return False
        findings = self.installation.findings(db)
        self.outcome.take(kind, what, findings, any(_names_row(finding, what) for finding in findings))
        return True

    def _row(self, target: row_mutations.Target, kind: str) -> None:
        with self._attacked() as (connection, db):
            self._look(f"{kind} {target.name}", row_mutations.KINDS[kind], connection, db, target)

    def _log(self, kind: str) -> None:
        with self._attacked() as (connection, db):
            what = log_mutations.KINDS[kind](self.random, connection)
            if what is not None:
                findings = self.installation.findings(db)
                self.outcome.take(f"ledger {kind}", what, findings, _names_entry(findings, what))

    def _anchor(self) -> None:
        """The configured anchor is changed; the kept one still has what was published."""
        with tempfile.TemporaryDirectory(prefix="assay-anchor-") as folder, self._attacked() as (_, db):
            copy = Path(folder) / "anchor"
            shutil.copytree(self.installation.outside, copy)
            before = {path.name: path.read_bytes() for path in copy.iterdir()}
            keys = self.installation.site.keys
            what = log_mutations.change_anchor(self.random, copy, keys.signing.name)
            if what is not None and {path.name: path.read_bytes() for path in copy.iterdir()} != before:
                findings = verify_ledger(db, places=Places(copy), vkeys=[keys.vkey]).findings
                self.outcome.take("anchor", what, findings, _says(findings, what))

    def _bundle(self, kind: str) -> None:
        members = dict(self.members)
        what = bundle_mutations.KINDS[kind](self.random, members)
        if members == self.members:
            return
        verdict = verify_bundle_bytes(bundle_mutations.packed(members), [self.installation.site.keys.vkey])
        if what == (MANIFEST_NOTE,):
            what = ("manifest.",)  # the note and what it signs are told as one
        self.outcome.take(f"bundle {kind}", what, verdict.findings, _says(verdict.findings, what))

    def untouched(self, runs: int) -> int:
        """False alarms in so many looks, with what the service itself changes in between."""
        alarms = 0
        database = self.installation.site.database
        for run in range(runs):
            with database.write() as db:
                if run % 4:
                    self._serve(db, run)
            with database.read() as db:
                alarms += bool(self.installation.findings(db))
            if run % 10 == 0:
                alarms += not verify_bundle_bytes(
                    bundle_mutations.packed(self.members), [self.installation.site.keys.vkey]
                ).ok
        return alarms

    def _serve(self, db: Session, run: int) -> None:
        """What late outcomes, people and jobs change."""
        row = self.random.choice(db.scalars(select(Measurement)).all())
        if row.value is not None:
            row.previous_value, row.value = row.value, row.value * 0.99
            row.details = {**row.details, "run": run, "x": self.random.random()}
        if run % 3 == 0:
            alert = self.random.choice(db.scalars(select(Alert)).all())
            alert.note, alert.severity = f"seen {run}", self.random.choice(["info", "critical"])
        if run % 5 == 0:
            window = self.random.choice(db.scalars(select(Window)).all())
            window.labels, window.history = window.labels + 1, [*window.history, {"run": run}]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("foreign_keys=OFF", "ignore_check_constraints=ON", "synchronous=OFF"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _names_row(finding: Finding, what: Named) -> bool:
    where, *columns = what
    if finding.where == "key ":  # the table of keys cannot be read
        return where.startswith("key ")
    return finding.where == where and (finding.what != "row.changed" or all(c in finding.expected for c in columns))


def _names_entry(findings: Sequence[Finding], what: Named) -> bool:
    """Whether an entry is named, or a stretch of entries in which it lies."""
    if not what[0].isdigit():
        return _says(findings, what)
    said = " ".join(map(str, findings))
    within = any(int(low) <= int(what[0]) <= int(high) for low, high in _NUMBERS.findall(said))
    return within or re.search(rf"\bentry {what[0]}\b", said) is not None or "ledger head" in said


def _says(findings: Sequence[Finding], what: Named) -> bool:
    said = " ".join(map(str, findings))
    return all(word in said for word in what)
