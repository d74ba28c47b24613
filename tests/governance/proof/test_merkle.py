"""RFC 6962 trees against published vectors, the RFC's own recursion, and every proof of every small tree."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.errors import InvalidError
from governance.proof import merkle
from tests.examples import examples

# Reference tree of the certificate-transparency project (merkletree tests, also in transparency-dev/merkle).
CT_DATA = "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
CT_LEAVES = [bytes.fromhex(data) for data in CT_DATA]
CT_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
CT_INCLUSION = [
    (0, 1, []),
    (0, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (5, 8, ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (1, 5, ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]),
]  # fmt: skip
CT_CONSISTENCY = [
    (1, 1, []),
    (1, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (6, 8, ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 5, ["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]),
]  # fmt: skip

MAX_SIZE = 32
LEAVES = [merkle.leaf_hash(f"entry {i}".encode()) for i in range(MAX_SIZE)]


def rfc_root(leaves: Sequence[bytes]) -> bytes:
    """MTH(D[n]) as RFC 6962 section 2.1 writes it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = max(1 << i for i in range(10) if 1 << i < len(leaves))
    return hashlib.sha256(b"\x01" + rfc_root(leaves[:k]) + rfc_root(leaves[k:])).digest()


def rfc_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) as RFC 6962 section 2.1.1 writes it."""
    if len(leaves) == 1:
        return []
    k = max(1 << i for i in range(10) if 1 << i < len(leaves))
    if m < k:
        return [*rfc_path(m, leaves[:k]), rfc_root(leaves[k:])]
    return [*rfc_path(m - k, leaves[k:]), rfc_root(leaves[:k])]


def rfc_subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) as RFC 6962 section 2.1.2 writes it."""
    if m == len(leaves):
        return [] if whole else [rfc_root(leaves)]
    k = max(1 << i for i in range(10) if 1 << i < len(leaves))
    if m <= k:
        return [*rfc_subproof(m, leaves[:k], whole), rfc_root(leaves[k:])]
    return [*rfc_subproof(m - k, leaves[k:], False), rfc_root(leaves[:k])]


ROOTS = [rfc_root(LEAVES[:size]) for size in range(MAX_SIZE + 1)]


def test_roots_of_the_reference_tree_are_the_published_ones() -> None:
    leaves = [merkle.leaf_hash(data) for data in CT_LEAVES]
    assert [merkle.root(leaves[:size]).hex() for size in range(9)] == list(CT_ROOTS)


@pytest.mark.parametrize(("index", "size", "path"), CT_INCLUSION)
def test_inclusion_proofs_of_the_reference_tree_are_the_published_ones(index: int, size: int, path: list[str]) -> None:
    leaves = [merkle.leaf_hash(data) for data in CT_LEAVES[:size]]
    proof = merkle.inclusion_proof(leaves, index)
    assert [node.hex() for node in proof] == path
    assert merkle.verify_inclusion(leaves[index], index, size, proof, bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(("first", "second", "path"), CT_CONSISTENCY)
def test_consistency_proofs_of_the_reference_tree_are_the_published_ones(
    first: int, second: int, path: list[str]
) -> None:
    proof = merkle.consistency_proof([merkle.leaf_hash(data) for data in CT_LEAVES], first, second)
    assert [node.hex() for node in proof] == path
    roots = [bytes.fromhex(root) for root in CT_ROOTS]
    assert merkle.verify_consistency(first, second, roots[first], roots[second], proof)


def test_every_inclusion_proof_up_to_32_is_the_rfc_path_and_verifies_for_its_leaf_only() -> None:
    for size in range(1, MAX_SIZE + 1):
        for index in range(size):
            proof = merkle.inclusion_proof(LEAVES[:size], index)
            assert list(proof) == rfc_path(index, LEAVES[:size])
            holds = [i for i in range(size) if merkle.verify_inclusion(LEAVES[i], i, size, proof, ROOTS[size])]
            assert holds == [index]
            assert not merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size - 1])
            assert not merkle.verify_inclusion(LEAVES[index], index, size, (*proof, LEAVES[0]), ROOTS[size])
            assert not (proof and merkle.verify_inclusion(LEAVES[index], index, size, proof[:-1], ROOTS[size]))


def test_every_consistency_proof_up_to_32_is_the_rfc_proof_and_verifies_for_its_roots_only() -> None:
    for second in range(1, MAX_SIZE + 1):
        for first in range(1, second + 1):
            proof = merkle.consistency_proof(LEAVES, first, second)
            assert list(proof) == rfc_subproof(first, LEAVES[:second], True)
            assert merkle.verify_consistency(first, second, ROOTS[first], ROOTS[second], proof)
            assert not merkle.verify_consistency(first, second, ROOTS[first - 1], ROOTS[second], proof)
            assert not merkle.verify_consistency(first, second, ROOTS[first], ROOTS[second - 1], proof)
            assert not merkle.verify_consistency(first, second, ROOTS[first], ROOTS[second], (*proof, LEAVES[0]))
            if proof:
                assert not merkle.verify_consistency(first, second, ROOTS[first], ROOTS[second], proof[:-1])
                assert not merkle.verify_consistency(first, second, ROOTS[first], ROOTS[second], ())


def test_a_flipped_bit_in_any_proof_node_is_refused() -> None:
    def inclusion_holds(proof: Sequence[bytes]) -> bool:
        return merkle.verify_inclusion(LEAVES[6], 6, 13, proof, ROOTS[13])

    def consistency_holds(proof: Sequence[bytes]) -> bool:
        return merkle.verify_consistency(6, 13, ROOTS[6], ROOTS[13], proof)

    for proof, holds in (
        (merkle.inclusion_proof(LEAVES[:13], 6), inclusion_holds),
        (merkle.consistency_proof(LEAVES, 6, 13), consistency_holds),
    ):
        assert holds(proof)
        for position, node in enumerate(proof):
            altered = bytes([node[0] ^ 1]) + node[1:]
            assert not holds([*proof[:position], altered, *proof[position + 1 :]])


def test_every_tree_extends_the_empty_tree_with_an_empty_proof() -> None:
    assert merkle.consistency_proof(LEAVES, 0, 7) == ()
    assert merkle.verify_consistency(0, 7, merkle.EMPTY_ROOT, ROOTS[7], ())
    assert not merkle.verify_consistency(0, 7, ROOTS[1], ROOTS[7], ())


def test_a_node_cannot_be_passed_off_as_a_leaf() -> None:
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


@pytest.mark.parametrize(
    "arguments",
    [
        (b"short", 0, 1, (), ROOTS[1]),
        (LEAVES[0], -1, 1, (), ROOTS[1]),
        (LEAVES[0], 1, 1, (), ROOTS[1]),
        (LEAVES[0], 0, 0, (), merkle.EMPTY_ROOT),
        (LEAVES[0], 0, 2, (b"short",), ROOTS[2]),
        (LEAVES[0], 0, 2, (), LEAVES[0]),  # a path that stops below the root of a tree of two
    ],
)
def test_malformed_inclusion_arguments_are_false_and_no_error(arguments: tuple[Any, ...]) -> None:
    assert not merkle.verify_inclusion(*arguments)


@pytest.mark.parametrize(
    ("first", "second", "proof"), [(-1, 2, ()), (3, 2, ()), (2, 2, (LEAVES[0],)), (1, 2, (b"short",)), (1, 2, ())]
)
def test_malformed_consistency_arguments_are_false_and_no_error(
    first: int, second: int, proof: tuple[bytes, ...]
) -> None:
    assert not merkle.verify_consistency(first, second, ROOTS[first], ROOTS[second], proof)


def test_asking_for_a_proof_outside_the_tree_is_an_error_that_names_the_range() -> None:
    with pytest.raises(merkle.LeafOutOfRangeError, match="index 4 is outside a tree of size 4"):
        merkle.inclusion_proof(LEAVES[:4], 4)
    for first, second in ((-1, 2), (3, 2), (2, 5)):
        with pytest.raises(merkle.TreeSizeError):
            merkle.consistency_proof(LEAVES[:4], first, second)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"size": -1, "nodes": []},
        {"size": True, "nodes": [LEAVES[0].hex()]},
        {"size": 3, "nodes": [LEAVES[0].hex()]},
        {"size": 1, "nodes": ["zz"]},
        {"size": 1, "nodes": [7]},
        {"size": 1, "nodes": ["00"]},
    ],
)
def test_a_frontier_state_that_does_not_fit_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(merkle.FrontierStateError):
        merkle.Frontier.from_state(state)


def test_a_frontier_takes_hashes_only() -> None:
    with pytest.raises(InvalidError, match="pass leaf_hash"):
        merkle.Frontier().append(b"data")


def test_a_frontier_of_a_million_leaves_keeps_twenty_nodes_at_most() -> None:
    frontier = merkle.Frontier.from_state({"size": 2**20 - 1, "nodes": [ROOTS[1].hex()] * 20})
    frontier.append(LEAVES[0])
    assert len(frontier.state()["nodes"]) == 1


@given(st.lists(st.binary(max_size=8), max_size=70))
@settings(max_examples=examples(60), deadline=None)
def test_root_is_the_recursive_definition(data: list[bytes]) -> None:
    leaves = [merkle.leaf_hash(item) for item in data]
    assert merkle.root(leaves) == rfc_root(leaves)


class Log(RuleBasedStateMachine):
    """Appends through the frontier, saves and restores it, remembers every head it has shown."""

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[bytes] = []
        self.frontier = merkle.Frontier()
        self.heads: dict[int, bytes] = {}

    @rule(data=st.binary(max_size=4))
    def append(self, data: bytes) -> None:
        self.leaves.append(merkle.leaf_hash(data))
        self.frontier.append(self.leaves[-1])

    @rule()
    def restart(self) -> None:
        self.frontier = merkle.Frontier.from_state(self.frontier.state())

    @rule()
    def show_head(self) -> None:
        self.heads[len(self.leaves)] = self.frontier.root()

    @precondition(lambda self: self.leaves)
    @rule(data=st.data())
    def prove_a_leaf(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.leaves) - 1))
        proof = merkle.inclusion_proof(self.leaves, index)
        assert merkle.verify_inclusion(self.leaves[index], index, len(self.leaves), proof, self.frontier.root())

    @invariant()
    def the_frontier_has_the_root_of_all_leaves(self) -> None:
        assert self.frontier.size == len(self.leaves)
        assert self.frontier.root() == rfc_root(self.leaves)

    @invariant()
    def every_head_shown_is_a_prefix_of_now(self) -> None:
        size, now = len(self.leaves), self.frontier.root()
        for first, head in self.heads.items():
            proof = merkle.consistency_proof(self.leaves, first, size)
            assert merkle.verify_consistency(first, size, head, now, proof)


TestLog = Log.TestCase
TestLog.settings = settings(max_examples=examples(25), stateful_step_count=25, deadline=None)
