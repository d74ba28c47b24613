"""Random changes of the ledger itself: its entries, leaves, head, checkpoints, and the notes in its anchor."""

import json
import sqlite3
import zlib
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from governance.proof import merkle
from governance.proof.checkpoint import sign_checkpoint
from governance.proof.vkey import SigningKey
from governance.verify.rows import pack, unpack

Named = tuple[str, ...]  # numbers of entries, or words of a finding


def _size(connection: sqlite3.Connection) -> int:
    return int(connection.execute("select count(*) from ledger_entry").fetchone()[0])


def _one(random: Random, connection: sqlite3.Connection, kind: str = "%") -> tuple[int, str]:
    found = connection.execute('select "index", entry from ledger_entry where kind like ?', (kind,)).fetchall()
    index, entry = random.choice(found)
    return int(index), str(entry)


def flipped(random: Random, value: str) -> str:
    at = random.randrange(len(value))
    return value[:at] + chr(ord(value[at]) ^ random.choice([1, 2, 4])) + value[at + 1 :]


def flip_entry(random: Random, connection: sqlite3.Connection) -> Named | None:
    index, _ = _one(random, connection)
    column = random.choice(["entry", "entry", "kind", "subject", "leaf"])
    value = connection.execute(f'select {column} from ledger_entry where "index" = ?', (index,)).fetchone()[0]
    connection.execute(f'update ledger_entry set {column} = ? where "index" = ?', (flipped(random, value), index))
    return (str(index),)


def entry_as_bytes(random: Random, connection: sqlite3.Connection) -> Named | None:
    index, entry = _one(random, connection)
    connection.execute('update ledger_entry set entry = ? where "index" = ?', (flipped(random, entry).encode(), index))
    return (str(index),)


def swap_entries(random: Random, connection: sqlite3.Connection) -> Named | None:
    (one, first), (other, second) = _one(random, connection), _one(random, connection)
    if one == other:
        return None
    connection.execute('update ledger_entry set entry = ? where "index" = ?', (second, one))
    connection.execute('update ledger_entry set entry = ? where "index" = ?', (first, other))
    return (str(one),)


def drop_entry(random: Random, connection: sqlite3.Connection) -> Named | None:
    index, _ = _one(random, connection)
    connection.execute('delete from ledger_entry where "index" = ?', (index,))
    return (str(index),)


def insert_entry(random: Random, connection: sqlite3.Connection) -> Named | None:
    """A copy at the end, which the head does not count."""
    _, entry = _one(random, connection)
    size = _size(connection)
    leaf = merkle.leaf_hash(entry.encode()).hex()
    connection.execute("insert into ledger_entry values (?, 'forged', 'forged', ?, ?)", (size, entry, leaf))
    return (str(size),)


def rehash(connection: sqlite3.Connection) -> None:
    """Make leaves and head agree with the entries, as whoever knows the program would."""
    frontier = merkle.Frontier()
    for index, entry in connection.execute('select "index", entry from ledger_entry order by "index"').fetchall():
        leaf = merkle.leaf_hash(entry.encode())
        frontier.append(leaf)
        connection.execute('update ledger_entry set leaf = ? where "index" = ?', (leaf.hex(), index))
    values = (frontier.size, frontier.root().hex(), json.dumps(frontier.state()))
    connection.execute("update ledger_head set size = ?, root = ?, frontier = ?", values)


def rewrite(random: Random, connection: sqlite3.Connection) -> Named | None:
    """An entry says something else, every hash after it follows, and later checkpoints are gone from the database."""
    index, entry = _one(random, connection)
    document = json.loads(entry)
    document["actor"] = f"{document['actor']}x"
    changed = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    connection.execute('update ledger_entry set entry = ? where "index" = ?', (changed, index))
    rehash(connection)
    if random.random() < 0.7:
        connection.execute("delete from ledger_checkpoint where size > ?", (index,))
    return (str(index),)


def rewrite_rows(random: Random, connection: sqlite3.Connection) -> Named | None:
    """A measurement, the leaves that bind it, their entry and every hash after it say the same new value."""
    found = connection.execute(
        'select e."index", e.entry, b.leaves from ledger_entry e join ledger_binding b on b.entry = e."index"'
    ).fetchall()
    index, entry, leaves = random.choice(found)
    lines = unpack(leaves)
    mine = [i for i, line in enumerate(lines) if line.startswith("+ measurement ")]
    if not mine:
        return None
    at = random.choice(mine)
    op, table, ident, values = lines[at].split(" ", 3)
    row = json.loads(values)
    if row["value"] is None:
        return None
    row["value"] = 0.97
    lines[at] = f"{op} {table} {ident} {json.dumps(row, separators=(',', ':'))}"
    connection.execute("update measurement set value = 0.97 where id = ?", (ident.replace("-", ""),))
    document = json.loads(entry)
    document["body"]["root"] = merkle.root([merkle.leaf_hash(line.encode()) for line in lines]).hex()
    changed = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    connection.execute("update ledger_binding set leaves = ? where entry = ?", (pack(lines), index))
    connection.execute('update ledger_entry set entry = ? where "index" = ?', (changed, index))
    rehash(connection)
    if random.random() < 0.7:
        connection.execute("delete from ledger_checkpoint where size > ?", (index,))
    return (str(index),)


def roll_back(random: Random, connection: sqlite3.Connection) -> Named | None:
    """The tail is gone, with the checkpoints that covered it, and the head agrees."""
    size = random.randrange(1, _size(connection))
    connection.execute('delete from ledger_entry where "index" >= ?', (size,))
    connection.execute("delete from ledger_binding where entry >= ?", (size,))
    connection.execute("delete from ledger_checkpoint where size > ?", (size,))
    rehash(connection)
    return (str(size),)


def flip_leaves(random: Random, connection: sqlite3.Connection) -> Named | None:
    index, leaves = random.choice(connection.execute("select entry, leaves from ledger_binding").fetchall())
    at = random.randrange(len(leaves))
    changed = leaves[:at] + bytes([leaves[at] ^ (1 << random.randrange(8))]) + leaves[at + 1 :]
    try:
        if unpack(changed) == unpack(leaves):
            return None  # the same leaves, packed otherwise
    except (ValueError, zlib.error):
        pass
    connection.execute("update ledger_binding set leaves = ? where entry = ?", (changed, index))
    return (str(index),)


def cut_leaves(random: Random, connection: sqlite3.Connection) -> Named | None:
    """Leaves are dropped, swapped or gone whole, packed as Assay packs them."""
    index, leaves = random.choice(connection.execute("select entry, leaves from ledger_binding").fetchall())
    lines = unpack(leaves)
    if len(lines) < 2 or random.random() < 0.2:
        connection.execute("delete from ledger_binding where entry = ?", (index,))
        return (str(index),)
    at = random.randrange(len(lines) - 1)
    if random.random() < 0.5:
        del lines[at]
    else:
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    connection.execute("update ledger_binding set leaves = ? where entry = ?", (pack(lines), index))
    return (str(index),)


def flip_checkpoint(random: Random, connection: sqlite3.Connection) -> Named | None:
    size, note, root = random.choice(connection.execute("select size, note, root from ledger_checkpoint").fetchall())
    if random.random() < 0.5:
        connection.execute("update ledger_checkpoint set note = ? where size = ?", (flipped(random, note), size))
    else:
        connection.execute("update ledger_checkpoint set root = ? where size = ?", (flipped(random, root), size))
    return (f"checkpoint {size}",)


def flip_head(random: Random, connection: sqlite3.Connection) -> Named | None:
    column = random.choice(["root", "size", "frontier"])
    (value,) = connection.execute(f"select {column} from ledger_head").fetchone()
    if column == "frontier":
        document = json.loads(value)
        at = random.randrange(len(document["nodes"]))
        document["nodes"][at] = flipped(random, document["nodes"][at])
        value = json.dumps(document)
    else:
        value = value + random.choice([-1, 1]) if column == "size" else flipped(random, value)
    connection.execute(f"update ledger_head set {column} = ?", (value,))
    return ("ledger head",)


KINDS: Final = {
    "flip_entry": flip_entry, "entry_as_bytes": entry_as_bytes, "swap_entries": swap_entries,
    "drop_entry": drop_entry, "insert_entry": insert_entry, "rewrite": rewrite, "rewrite_rows": rewrite_rows,
    "roll_back": roll_back, "flip_leaves": flip_leaves, "cut_leaves": cut_leaves, "flip_checkpoint": flip_checkpoint,
    "flip_head": flip_head,
}  # fmt: skip


# --- notes in the anchor ----------------------------------------------------------------------------------------------


def change_anchor(random: Random, folder: Path, origin: str) -> Named | None:
    """A note of the anchor is changed, gone, swapped with another, cut, or signed with another key."""
    notes = sorted(folder.glob("*.note"))
    note = random.choice(notes)
    kind = random.randrange(5)
    text = note.read_text()
    if kind == 0:
        note.write_text(flipped(random, text))
    elif kind == 1:
        note.unlink()
    elif kind == 2 and len(notes) > 1:
        note.write_text(random.choice([one for one in notes if one != note]).read_text())
    elif kind == 3:
        note.write_text(text[: len(text) // 2])
    else:
        size = int(text.split("\n")[1])
        forged = SigningKey.generate(origin)
        at = datetime(2026, 3, 20, tzinfo=UTC)
        note.write_text(sign_checkpoint(forged, origin, size, random.randbytes(32), at))
    return (f"checkpoint {int(note.stem.split('-')[1])}",)
