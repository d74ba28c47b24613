#!/usr/bin/env bash
# SQLite 3.54.1 (apsw 3.54.1.0): with PRAGMA secure_delete=ON, bytes of deleted rows stay in the file of the database.
#
# The documentation says that deleted content is overwritten with zeros. That holds for the entry that is deleted, and
# not for copies of it: when a full page of an index is divided, entries move to another page and the room they leave
# is not cleared. Expected after the delete: 0 in each file. Seen on 2026-11-29 with Python 3.11: some files still hold
# the deleted text, outside every live entry, so that no query and no integrity check shows it; VACUUM removes it.
# SQLite 3.40.1 does the same. It matters to whoever must erase a person from a file. Output:
#     after the delete: [0, 0, 4, 6, 0, 0] times in the file
#     after VACUUM:     [0, 0, 0, 0, 0, 0] times in the file
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apsw==3.54.1.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import random
import sys
from pathlib import Path

import apsw

NAME = "person-of-interest"


def left(seed: int) -> tuple[int, int]:
    """How often the deleted name stands in the file, before and after VACUUM."""
    path = Path(sys.argv[1]) / f"{seed}.db"
    db = apsw.Connection(str(path))
    assert list(db.execute("pragma secure_delete=on")) == [(1,)]
    db.execute("create table t(id integer primary key, m text, name text, at text); create index i on t(m, name, at)")
    made = random.Random(seed)
    with db:
        for row in range(300):
            other = f"channel={'abcdefgh'[made.randrange(8)] * made.randrange(3, 30)}" if made.random() >= 0.3 else NAME
            db.execute("insert into t values (?, ?, ?, ?)", (row, "m" * 32, other, f"2026-{made.randrange(10**6):06}"))
    db.execute("delete from t where name = ?", (NAME,))
    assert list(db.execute("select count(*) from t where name = ?", (NAME,))) == [(0,)]
    deleted = path.read_bytes().count(NAME.encode())
    db.execute("vacuum")
    return deleted, path.read_bytes().count(NAME.encode())


print("SQLite", apsw.sqlite_lib_version())
deleted, vacuumed = zip(*(left(seed) for seed in range(6)), strict=True)
print(f"after the delete: {list(deleted)} times in the file\nafter VACUUM:     {list(vacuumed)} times in the file")
assert any(deleted) and not any(vacuumed), "the behaviour has changed"
print("as stated")
PYTHON
