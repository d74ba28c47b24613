"""The ledger's tree from stored subtree hashes: a proof reads a few hundred hashes, however long the log is.

A row of `ledger_subtree` holds the root of a complete subtree of 256, 256^2, 256^3 ... leaves; it is written with the
entry that completes it and follows from the leaves. Where a row is missing it is computed from the level below.
"""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from governance.ledger.read import stored_bytes
from governance.proof import merkle
from governance.tables import LedgerEntry, LedgerSubtree

BITS: Final = 8
WIDTH: Final = 1 << BITS  # leaves of a stored subtree, and subtrees of the next level


def completed(frontier: merkle.Frontier, leaf: bytes) -> Iterator[LedgerSubtree]:
    """The rows of the subtrees that a leaf completes, before it is added to the frontier."""
    size = frontier.size + 1
    if size % WIDTH:
        return
    for height, node in frontier.completing(leaf):
        if height % BITS == 0:
            yield LedgerSubtree(level=height // BITS, index=(size >> height) - 1, hash=node.hex())


class StoredTree:
    """Hashes of the tree of the first `size` entries, as they are stored; each is read once."""

    def __init__(self, db: Session, size: int) -> None:
        self._db, self.size = db, size
        self._tiles: dict[tuple[int, int], list[list[bytes]]] = {}

    def root(self, size: int) -> bytes:
        """The root of the tree of the first `size` entries."""
        return self._range(0, size) if size else merkle.EMPTY_ROOT

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """As `merkle.inclusion_proof`. Raises LeafOutOfRangeError."""
        if not 0 <= index < self.size:
            raise merkle.LeafOutOfRangeError(index, self.size)
        return merkle.inclusion_path(index, self.size, self._range)

    def consistency_proof(self, first: int, second: int) -> tuple[bytes, ...]:
        """As `merkle.consistency_proof`. Raises TreeSizeError."""
        if not 0 <= first <= second <= self.size:
            raise merkle.TreeSizeError(first, second, self.size)
        return merkle.consistency_path(first, second, self._range)

    def _range(self, start: int, stop: int) -> bytes:
        """The root over leaves start <= i < stop, where `start` is a multiple of a power of two that the range fits."""
        nodes = []
        while start < stop:
            height = (stop - start).bit_length() - 1
            nodes.append(self._subtree(height, start >> height))
            start += 1 << height
        computed = nodes.pop()
        while nodes:
            computed = merkle.node_hash(nodes.pop(), computed)
        return computed

    def _subtree(self, height: int, index: int) -> bytes:
        """The root of the complete subtree `index` of 2^height leaves."""
        level, above = divmod(height, BITS)
        tile, at = divmod(index << above, WIDTH)
        return self._tile(level, tile)[above][at >> above]

    def _tile(self, level: int, tile: int) -> list[list[bytes]]:
        """Up to 256 complete subtrees of one level, those that lie below the size, and the nodes above them.

        Row `n` holds the subtrees of 2^n of them, up to that of all 256.
        """
        key = (level, tile)
        if key not in self._tiles:
            first = tile * WIDTH
            count = min(WIDTH, (self.size >> (level * BITS)) - first)
            rows = [self._read(level, first, count)]
            while len(below := rows[-1]) > 1:
                rows.append([merkle.node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
            self._tiles[key] = rows
        return self._tiles[key]

    def _read(self, level: int, first: int, count: int) -> list[bytes]:
        if level == 0:
            leaves = select(LedgerEntry.leaf).order_by(LedgerEntry.index)
            rows = self._db.scalars(leaves.where(LedgerEntry.index >= first, LedgerEntry.index < first + count)).all()
            return [bytes.fromhex(stored_bytes(leaf).decode(errors="replace")) for leaf in rows]
        of = LedgerSubtree
        query = select(of.index, of.hash).where(of.level == level, of.index >= first, of.index < first + count)
        stored = {index: bytes.fromhex(node) for index, node in self._db.execute(query)}
        return [stored.get(i) or self._tile(level - 1, i)[BITS][0] for i in range(first, first + count)]
