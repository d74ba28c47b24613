"""An inclusion proof in a log of ten million entries, whose tree was built in bulk."""

import hashlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import text

from bench.load.results import write_lines
from bench.proofs.append import TABLES
from core.db import Base, Database
from governance.ledger.checkpointing import inclusion_proof
from governance.ledger.tree import BITS, WIDTH
from governance.proof import merkle

ENTRIES: Final = 10_000_000
PROOFS: Final = 300


def run(out: Path, entries: int = ENTRIES) -> None:
    with tempfile.TemporaryDirectory(prefix="assay-proofs-") as folder:
        database = Database(f"sqlite:///{folder}/assay.db", durable=False)
        try:
            begun = time.perf_counter()
            root = _build(database, entries)
            built = time.perf_counter() - begun
            computed = time.process_time()
            times = _proofs(database, entries, root)
            computed = (time.process_time() - computed) / len(times) * 1e3
        finally:
            database.dispose()
    share = statistics.quantiles(times, n=100)[98] * 1e3
    median = statistics.median(times) * 1e3
    print(f"proof_10m: median {median:.2f} ms, p99 {share:.2f} ms, CPU {computed:.2f} ms")
    print(f"  of {entries} entries, built in {built:.0f} s")
    found = {"ms": (median, "ms")}
    write_lines(
        out, "proof_10m", found, bench="ledger", entries=entries, proofs=len(times), p99_ms=round(share, 3),
        cpu_ms=round(computed, 3), built_s=round(built, 1),
    )  # fmt: skip


def _leaf(index: int) -> bytes:
    return hashlib.sha256(b"\x00%d" % index).digest()


def _build(database: Database, entries: int) -> bytes:
    """Fill the tables without their secondary indexes, which no proof reads; returns the root."""
    Base.metadata.create_all(database.engine, tables=[Base.metadata.tables[name] for name in TABLES])
    with database.write() as db:
        for name in ("kind", "subject"):
            db.execute(text(f"drop index ix_ledger_entry_{name}"))
    levels: list[list[bytes]] = [[]]
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("begin")
        insert = """insert into ledger_entry ("index", kind, subject, entry, leaf) values (?, 'k', 's', ?, ?)"""
        cursor.executemany(insert, _rows(entries, levels))
        rows = [
            (level, index, node.hex())
            for level, nodes in enumerate(levels)
            if level
            for index, node in enumerate(nodes)
        ]
        cursor.executemany("""insert into ledger_subtree (level, "index", hash) values (?, ?, ?)""", rows)
        cursor.execute("commit")
    finally:
        connection.close()
    frontier = merkle.Frontier()
    for node in levels[1]:  # roots of 256 leaves each are leaves of the tree above, as the sizes are powers of two
        frontier.append(node)
    rest = entries % WIDTH
    if not rest:
        return frontier.root()
    computed = merkle.root([_leaf(index) for index in range(entries - rest, entries)])
    for node in reversed(frontier.state()["nodes"]):
        computed = merkle.node_hash(bytes.fromhex(node), computed)
    return computed


def _rows(entries: int, levels: list[list[bytes]]) -> Iterator[tuple[int, str, str]]:
    part: list[bytes] = []
    for index in range(entries):
        leaf = _leaf(index)
        part.append(leaf)
        if len(part) == WIDTH:
            _complete(levels, 1, part)
            part = []
        yield index, str(index), leaf.hex()


def _complete(levels: list[list[bytes]], level: int, nodes: list[bytes]) -> None:
    """Keep the root of 256 nodes one level up, and that level's too once it is complete."""
    for _ in range(BITS):
        nodes = [merkle.node_hash(nodes[i], nodes[i + 1]) for i in range(0, len(nodes), 2)]
    if len(levels) == level:
        levels.append([])
    levels[level].append(nodes[0])
    if len(levels[level]) % WIDTH == 0:
        _complete(levels, level + 1, levels[level][-WIDTH:])


def _proofs(database: Database, entries: int, root: bytes) -> list[float]:
    draw, times = random.Random(0), []
    for _ in range(PROOFS):
        index = draw.randrange(entries)
        begun = time.perf_counter()
        with database.read() as db:
            found = inclusion_proof(db, index, entries)
        times.append(time.perf_counter() - begun)
        path = [bytes.fromhex(node) for node in found["proof"]]
        assert merkle.verify_inclusion(bytes.fromhex(found["leaf"]), index, entries, path, root)
    return times
