"""RFC 6962 Merkle tree over SHA-256: hashes, roots, inclusion and consistency proofs. Pure.

A leaf is always passed as its leaf hash (32 bytes), never as its data. Prefixes 0x00 (leaf) and 0x01 (node) keep a
leaf from being passed off as a node (RFC 6962 section 2.1).
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

from core.errors import InvalidError

HASH_BYTES: Final = 32
RangeRoot = Callable[[int, int], bytes]  # the root over the leaves start <= i < stop
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


class LeafOutOfRangeError(InvalidError):
    def __init__(self, index: int, size: int) -> None:
        super().__init__(
            f"leaf index {index} is outside a tree of size {size}; give 0 to {size - 1}", index=index, size=size
        )
        self.index, self.size = index, size


class TreeSizeError(InvalidError):
    def __init__(self, first: int, second: int, size: int) -> None:
        super().__init__(
            f"no consistency proof from size {first} to {second} in a tree of size {size}; "
            "give 0 <= first <= second <= size",
            first=first,
            second=second,
            size=size,
        )
        self.first, self.second, self.size = first, second, size


class FrontierStateError(InvalidError):
    def __init__(self, reason: str, state: object) -> None:
        super().__init__(f"frontier state {state!r} is not usable: {reason}; rebuild it from the leaves", reason=reason)
        self.state = state


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf's data, 32 bytes. Source: RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01, the left and the right child, 32 bytes. Source: RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Merkle tree hash of leaf hashes in order; the root of the empty tree is SHA-256 of nothing.

    Source: RFC 6962 section 2.1. Cost: one hash per leaf.
    """
    return _range_root(leaves, 0, len(leaves))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Siblings from the leaf up to the root, PATH(m, D[n]); empty for a tree of one leaf.

    Raises:
        LeafOutOfRangeError: there is no leaf at `index`.

    Source: RFC 6962 section 2.1.1.
    """
    if not 0 <= index < len(leaves):
        raise LeafOutOfRangeError(index, len(leaves))
    return inclusion_path(index, len(leaves), lambda start, stop: _range_root(leaves, start, stop))


def inclusion_path(index: int, size: int, range_root: RangeRoot) -> tuple[bytes, ...]:
    """`inclusion_proof` over anything that knows the roots of ranges of leaves; 0 <= index < size."""
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(range_root(middle, stop))
            stop = middle
        else:
            path.append(range_root(start, middle))
            start = middle
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows the leaf hash at `index` of the tree of `size` leaves with this `root`.

    False, never an error, for a proof of the wrong length or hashes that are not 32 bytes.

    Source: RFC 9162 section 2.1.3.2 (same trees and proofs as RFC 6962).
    """
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            node, last = _skip_levels_without_sibling(node, last)
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and hmac.compare_digest(computed, root)


def consistency_proof(leaves: Sequence[bytes], first: int, second: int) -> tuple[bytes, ...]:
    """Nodes that prove the tree of `first` leaves to be a prefix of the tree of `second` leaves, PROOF(m, D[n]).

    Empty if `first` is 0 or equals `second`, because nothing remains to prove.

    Raises:
        TreeSizeError: not 0 <= first <= second <= len(leaves).

    Source: RFC 6962 section 2.1.2.
    """
    if not 0 <= first <= second <= len(leaves):
        raise TreeSizeError(first, second, len(leaves))
    return consistency_path(first, second, lambda start, stop: _range_root(leaves, start, stop))


def consistency_path(first: int, second: int, range_root: RangeRoot) -> tuple[bytes, ...]:
    """`consistency_proof` over anything that knows the roots of ranges of leaves; 0 <= first <= second."""
    if first in (0, second):
        return ()
    proof: list[bytes] = []
    start, stop, whole = 0, second, True
    while stop != first:
        middle = start + _split(stop - start)
        if first <= middle:
            proof.append(range_root(middle, stop))
            stop = middle
        else:
            proof.append(range_root(start, middle))
            start, whole = middle, False
    # The verifier knows the old root itself, so it is sent only when the old tree is not one whole subtree.
    if not whole:
        proof.append(range_root(start, stop))
    return tuple(reversed(proof))


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `second` leaves only appended to the tree of `first`.

    False, never an error, for a malformed proof. From the empty tree everything is an extension, with an empty proof.

    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 <= first <= second or not _are_hashes(first_root, second_root, *proof):
        return False
    if first == second:
        return not proof and hmac.compare_digest(first_root, second_root)
    if first == 0:
        return not proof and hmac.compare_digest(first_root, EMPTY_ROOT)
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path or not proof:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            node, last = _skip_levels_without_sibling(node, last)
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and hmac.compare_digest(old, first_root) and hmac.compare_digest(new, second_root)


class Frontier:
    """Compact range [0, size): the roots of the full subtrees along the right edge, largest first.

    Enough to append a leaf and to give the root in O(log size), without reading any earlier leaf.
    """

    def __init__(self) -> None:
        self._size = 0
        self._nodes: list[bytes] = []

    @property
    def size(self) -> int:
        """Number of leaves appended."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (32 bytes) on the right."""
        if len(leaf) != HASH_BYTES:
            raise InvalidError(f"leaf hash has {len(leaf)} bytes, not {HASH_BYTES}; pass leaf_hash(data)")
        carry, trailing = leaf, self._size
        while trailing & 1:
            carry, trailing = node_hash(self._nodes.pop(), carry), trailing >> 1
        self._nodes.append(carry)
        self._size += 1

    def completing(self, leaf: bytes) -> Iterator[tuple[int, bytes]]:
        """Height and root of each subtree that this leaf would complete, smallest first; nothing is added."""
        carry, trailing, height = leaf, self._size, 0
        while trailing & 1:
            height += 1
            carry, trailing = node_hash(self._nodes[-height], carry), trailing >> 1
            yield height, carry

    def root(self) -> bytes:
        """Merkle tree hash of all leaves appended so far, 32 bytes."""
        if not self._nodes:
            return EMPTY_ROOT
        computed = self._nodes[-1]
        for node in reversed(self._nodes[:-1]):
            computed = node_hash(node, computed)
        return computed

    def state(self) -> dict[str, Any]:
        """JSON form: `size` and `nodes` (hexadecimal, largest subtree first)."""
        return {"size": self._size, "nodes": [node.hex() for node in self._nodes]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Continue from `state()`.

        Raises:
            FrontierStateError: the size is not a count, does not fit the number of nodes, or a node is not a hash.
        """
        size, nodes = state.get("size"), state.get("nodes")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(nodes, Sequence):
            raise FrontierStateError("size must be a count and nodes a list", state)
        if size.bit_count() != len(nodes):
            raise FrontierStateError(f"size {size} needs {size.bit_count()} nodes, found {len(nodes)}", state)
        try:
            hashes = [bytes.fromhex(node) for node in nodes]
        except (TypeError, ValueError) as error:
            raise FrontierStateError(f"a node is not hexadecimal ({error})", state) from error
        if not _are_hashes(*hashes):
            raise FrontierStateError(f"a node is not {HASH_BYTES} bytes", state)
        frontier = cls()
        frontier._size, frontier._nodes = size, hashes
        return frontier


def _split(size: int) -> int:
    """Largest power of two below `size` (size >= 2): where RFC 6962 divides a tree."""
    return 1 << (size - 1).bit_length() - 1


def _range_root(leaves: Sequence[bytes], start: int, stop: int) -> bytes:
    frontier = Frontier()
    for position in range(start, stop):
        frontier.append(leaves[position])
    return frontier.root()


def _skip_levels_without_sibling(node: int, last: int) -> tuple[int, int]:
    """On the right edge a node may have no sibling for some levels; the proof holds nothing for those."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
