"""A million entries verified offline: each one's form and hash, the tree over them, and the signature of its head."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.load.results import write_lines
from core.canonical import canonical
from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.vkey import SigningKey
from governance.verify.log import verify_log

ENTRIES: Final = 1_000_000
MARK: Final = b"987654321"  # stands for the number of an entry


def run(out: Path, entries: int = ENTRIES) -> None:
    at, key = datetime(2026, 1, 1, tzinfo=UTC), SigningKey.generate("bench.test/log")
    body = {"number": int(MARK), "digest": "sha256:" + "ab" * 32, "measurements": 12, "at": at}
    entry = {"index": int(MARK), "at": at, "kind": "window.evaluated", "actor": "assay", "subject": "model:bench"}
    model = canonical(entry | {"body": body})
    with tempfile.TemporaryDirectory(prefix="assay-verify-") as folder:
        path, frontier = Path(folder) / "entries.jsonl", merkle.Frontier()
        with path.open("wb") as file:
            for index in range(entries):
                line = model.replace(MARK, b"%d" % index)
                frontier.append(merkle.leaf_hash(line))
                file.write(line + b"\n")
        note = sign_checkpoint(key, key.name, entries, frontier.root(), at)
        begun, computed = time.perf_counter(), time.process_time()
        with path.open("rb") as lines:
            verdict = verify_log(lines, [note], [key.vkey])
        took, computed = time.perf_counter() - begun, time.process_time() - computed
        size = path.stat().st_size
    assert verdict.ok
    assert verdict.facts.size == entries
    print(f"verify_1m: {took:.1f} s ({computed:.1f} s of CPU) for {entries} entries, {size / 1e6:.0f} MB")
    write_lines(
        out,
        "verify_1m",
        {"seconds": (took, "s")},
        bench="ledger",
        entries=entries,
        bytes=size,
        cpu_s=round(computed, 1),
    )
