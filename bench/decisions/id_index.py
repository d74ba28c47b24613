"""How known ids are found again: our index files, a SQLite table, LMDB.

    pip install lmdb
    python -m bench.decisions.id_index [--ids N] [--folder DIR]

Each store knows N ids by their 128-bit digest and says of a digest which file and row have it. Asked of each, in a
process of its own:

fill: microseconds of CPU for each id that is taken in, 20,000 at a time as files are written;
new: microseconds for each id of a request of 5,000 that are all new, which is what nearly every request brings;
known: the same where all are known (a request that is sent again);
one: milliseconds for one known id, never looked up before;
disk: bytes on disk for each id.

Our index has one file for each data file, here of 500,000 rows. SQLite (with a page cache of 64 MiB) and LMDB keep
everything in one tree each, with synchronous=off and sync=False: an index can be made again from the data files, so
none of it has to be durable.

Prints JSON lines; docs/decisions/0020 states the figures of one run.
"""

import argparse
import json
import multiprocessing
import os
import sqlite3
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from monitor.lake.id_file import Digest, DigestKey, FileIds, WantedRows, build_index  # noqa: E402
from monitor.lake.identity import RowIds  # noqa: E402

FILE = 500_000  # rows of a compacted data file
PART = 20_000  # rows of a flush
REQUEST = 5_000
Figure = tuple[str, float, str]


def ids(first: int, count: int) -> RowIds:
    return RowIds.plain(pl.Series(np.arange(first, first + count)).cast(pl.String).str.pad_start(20, "0"))


class Store(Protocol):
    def fill(self, first: int, count: int) -> None: ...
    def known(self, some: RowIds) -> int: ...
    def one(self, event: str) -> bool: ...


class Ours:
    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, DigestKey.of(folder)
        self._files: list[FileIds] = []

    def fill(self, first: int, count: int) -> None:
        """Every id is indexed twice: when its rows are flushed, and when files are compacted."""
        for part in range(first, first + count, PART):
            build_index(self._folder, f"small-{part}", ids(part, PART), self._key).unlink()
        self._files.append(FileIds(build_index(self._folder, f"file-{first}", ids(first, count), self._key), self._key))

    def known(self, some: RowIds) -> int:
        first, second = self._key.words(some)
        order = np.argsort(first)
        wanted = WantedRows(first[order], second[order])
        return sum(len(file.look_up(wanted)[0]) for file in self._files)

    def one(self, event: str) -> bool:
        (digest,) = self._key.digests([event])
        return any(file.has(digest) for file in self._files)


def digests(key: DigestKey, some: RowIds) -> list[bytes]:
    first, second = key.words(some)
    raw = np.stack((first.byteswap(), second.byteswap()), axis=1).tobytes()
    return [raw[i : i + 16] for i in range(0, len(raw), 16)]


def digest_bytes(digest: Digest) -> bytes:
    return struct.pack(">QQ", *digest)


class Sqlite:
    def __init__(self, folder: Path) -> None:
        self._key = DigestKey.of(folder)
        self._db = sqlite3.connect(folder / "ids.db", isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=off")
        self._db.execute("pragma cache_size=-65536")  # 64 MiB
        self._db.execute("create table ids (digest blob primary key, file integer, row integer) without rowid")

    def fill(self, first: int, count: int) -> None:
        for part in range(first, first + count, PART):
            found = [(d, part, row) for row, d in enumerate(digests(self._key, ids(part, PART)))]
            self._db.execute("begin")
            self._db.executemany("insert or ignore into ids values (?, ?, ?)", found)
            self._db.execute("commit")

    def known(self, some: RowIds) -> int:
        found = digests(self._key, some)
        count = 0
        for at in range(0, len(found), 500):
            part = found[at : at + 500]
            marks = ",".join("?" * len(part))
            count += self._db.execute(f"select count(*) from ids where digest in ({marks})", part).fetchone()[0]
        return count

    def one(self, event: str) -> bool:
        (digest,) = self._key.digests([event])
        return self._db.execute("select 1 from ids where digest = ?", (digest_bytes(digest),)).fetchone() is not None


class Lmdb:
    def __init__(self, folder: Path) -> None:
        import lmdb

        self._key = DigestKey.of(folder)
        self._env: Any = lmdb.open(str(folder / "ids.lmdb"), map_size=8 << 30, sync=False, writemap=True)

    def fill(self, first: int, count: int) -> None:
        for part in range(first, first + count, PART):
            found = [(d, struct.pack("<QI", part, row)) for row, d in enumerate(digests(self._key, ids(part, PART)))]
            with self._env.begin(write=True) as txn:
                txn.cursor().putmulti(sorted(found), overwrite=False)

    def known(self, some: RowIds) -> int:
        with self._env.begin() as txn:
            return len(txn.cursor().getmulti(sorted(digests(self._key, some))))

    def one(self, event: str) -> bool:
        (digest,) = self._key.digests([event])
        with self._env.begin() as txn:
            return txn.get(digest_bytes(digest)) is not None


STORES: dict[str, type[Any]] = {"our index": Ours, "sqlite": Sqlite, "lmdb": Lmdb}


def measure(store: Store, folder: Path, count: int) -> Iterator[Figure]:
    ids(0, FILE)  # polars has started its threads
    cpu = time.process_time()
    for first in range(0, count, FILE):
        store.fill(first, FILE)
    yield "fill", 1e6 * (time.process_time() - cpu) / count, "µs of CPU an id"
    draw = np.random.default_rng(1)

    def requests(starts: Sequence[int], expected: int) -> float:
        took = []
        for start in starts:
            some = ids(start, REQUEST)
            began = time.process_time()
            found = store.known(some)
            took.append(time.process_time() - began)
            assert found == expected, (found, expected)
        return 1e6 * float(np.median(took)) / REQUEST

    yield "new", requests([count + n * REQUEST for n in range(40)], 0), "µs of CPU an id"
    yield "known", requests(draw.integers(0, count - REQUEST, 40).tolist(), REQUEST), "µs of CPU an id"
    took = []
    for number in draw.integers(0, count, 400).tolist():
        began = time.perf_counter()
        assert store.one(f"{number:020d}")
        took.append(time.perf_counter() - began)
    yield "one", 1e3 * float(np.median(took)), "ms"
    stored = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("-wal")]
    yield "disk", sum(p.stat().st_blocks * 512 for p in stored) / count, "bytes an id"


def run(name: str, folder: str, count: int) -> None:
    where = Path(folder) / name.replace(" ", "-")
    where.mkdir()
    for metric, value, unit in measure(STORES[name](where), where, count):
        line = {"ids": count, "store": name, "metric": metric, "value": round(value, 3), "unit": unit}
        print(json.dumps(line | {"load": round(os.getloadavg()[0], 1)}, ensure_ascii=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ids", type=int, default=3_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured; default: the system's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in STORES:
            process = multiprocessing.get_context("spawn").Process(target=run, args=(name, folder, options.ids))
            process.start()
            process.join()
            assert process.exitcode == 0


if __name__ == "__main__":
    main()
