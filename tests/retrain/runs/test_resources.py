"""What a run needs of the machine, at least, and what it says where that is not free."""

import json
from pathlib import Path

import pytest

from core.clock import ManualClock
from monitor.site import Site
from retrain.runs.consider import start_manual
from retrain.runs.resources import Amount, Weights, compared, lacking, need
from retrain.train.config import Recipe
from retrain.train.speed.memory import GIB
from tests.databases import SQLITE_FIRST, SQLITE_ONLY
from tests.retrain import world
from tests.retrain.train import tiny

LLAMA_8B = {
    "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "intermediate_size": 14336, "vocab_size": 128256,
}  # fmt: skip


def base(folder: Path, config: dict[str, int], shapes: dict[str, list[int]]) -> Path:
    """A base model of these shapes; its weights are a hole in a file, so they take no disk."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    end, header = 0, {}
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return folder


def layers(count: int) -> dict[str, list[int]]:
    products = {"q": [4096, 4096], "k": [1024, 4096], "v": [1024, 4096], "o": [4096, 4096], "up": [14336, 4096],
                "gate": [14336, 4096], "down": [4096, 14336]}  # fmt: skip
    found = {f"model.layers.{i}.{name}.weight": shape for i in range(count) for name, shape in products.items()}
    return {**found, "model.embed_tokens.weight": [128256, 4096], "lm_head.weight": [128256, 4096]}


def test_an_8b_base_needs_what_such_a_run_is_known_to_take(tmp_path: Path) -> None:
    folder = base(tmp_path / "base", LLAMA_8B, layers(32))
    recipe = Recipe(base_model=str(folder), task="causal_lm", max_length=2048, batch_size=4)
    card = need(recipe, folder, on_card=True)
    assert card.card is not None
    assert 5 * GIB < card.card < 16 * GIB  # measured on an H100: about 11 GiB with one row a pass
    assert 14 * GIB < card.memory < 18 * GIB  # the file passes through memory
    cpu = need(recipe, folder, on_card=False)
    assert cpu.card is None
    assert cpu.memory > card.card


def test_a_longer_text_needs_more_and_a_base_of_another_form_at_least_its_weights(tmp_path: Path) -> None:
    folder = base(tmp_path / "base", LLAMA_8B, layers(32))
    short, long = (
        need(Recipe(base_model="./x", task="causal_lm", max_length=n), folder, on_card=True) for n in (512, 8192)
    )
    assert short.card is not None
    assert long.card is not None
    assert long.card > short.card
    other = base(tmp_path / "other", {}, {"a": [1 << 15, 1 << 15]})
    needed = need(Recipe(base_model="./x", task="sequence_classification"), other, on_card=False)
    assert needed.memory > (1 << 31)  # the file in 16 bit, as it is read


def test_a_champion_that_is_larger_than_the_base_counts_for_it_is_asked_too(tmp_path: Path) -> None:
    student = base(tmp_path / "student", LLAMA_8B, layers(1))
    recipe = Recipe(base_model=str(student), task="causal_lm", max_length=64, batch_size=1, teacher="champion")
    large = base(tmp_path / "large", LLAMA_8B, layers(32))
    alone = need(recipe, student, on_card=False)
    whole, packed = (
        need(recipe, student, on_card=False, champion=Weights(large, packed=packed)) for packed in (False, True)
    )
    assert whole.memory > 30 * GIB > packed.memory > alone.memory
    assert whole.disk == alone.disk
    card = need(recipe, student, on_card=True, champion=Weights(large, packed=False))
    assert card.card is not None
    assert 14 * GIB < card.card < 16 * GIB
    assert need(recipe, student, on_card=False, champion=Weights(student, packed=False)) == alone


@SQLITE_FIRST
def test_a_champion_that_does_not_fit_blocks_a_run_of_a_smaller_base(
    site: Site, clock: ManualClock, tmp_path: Path
) -> None:
    folder = world.fake_base(tmp_path / "large")
    world.declare(site, world.spec(folder))
    small = world.spec(world.fake_base(tmp_path / "small"))
    assert lacking(site, small) == ()
    huge = base(tmp_path / "huge", LLAMA_8B, {"w": [1 << 20, 1 << 20]})
    (huge / "model.safetensors").rename(folder / "model.safetensors")
    assert "memory: a run needs at least" in lacking(site, small)[0]


def test_each_amount_that_does_not_suffice_is_told_with_both_figures() -> None:
    needed = Amount(2 * GIB, 30 * GIB, 40 * GIB)
    assert compared(needed, Amount(3 * GIB, 31 * GIB, 41 * GIB)) == ()
    assert compared(needed, Amount(50 * 2**20, 12 * GIB, 24 * GIB)) == (
        "disk: a run needs at least 2.0 GiB, and 50 MiB are free",
        "memory: a run needs at least 30.0 GiB, and 12.0 GiB are free",
        "card: a run needs at least 40.0 GiB, and 24.0 GiB are free",
    )


@SQLITE_FIRST
def test_a_base_that_does_not_fit_blocks_before_anything_starts(site: Site, clock: ManualClock, tmp_path: Path) -> None:
    folder = world.fake_base(tmp_path / "small")
    world.declare(site, world.spec(folder))  # its files are hashed when the first version is registered
    huge = base(tmp_path / "huge", LLAMA_8B, {"w": [1 << 20, 1 << 20]})
    (huge / "model.safetensors").rename(folder / "model.safetensors")
    world.send(site, world.traffic(200, tiny.OLD), clock)
    with site.database.write() as db:
        found = start_manual(site, db, world.NAME, "ann", "try")
    assert found.run is None
    [blocker] = found.decision.blocked_by
    assert blocker["name"] == "resources"
    assert "memory: a run needs at least 2,048.5 GiB, and " in blocker["reason"]


@SQLITE_ONLY
def test_a_base_that_is_gone_blocks_with_its_place(site: Site, clock: ManualClock, tmp_path: Path) -> None:
    folder = world.fake_base(tmp_path / "base")
    world.declare(site, world.spec(folder))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    (folder / "model.safetensors").unlink()
    with site.database.write() as db:
        found = start_manual(site, db, world.NAME, "ann", "try")
    assert [b["name"] for b in found.decision.blocked_by] == ["resources"]
    assert str(folder) in found.decision.reason


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"weights", (99).to_bytes(8, "little") + b"[]"])
def test_a_file_whose_header_cannot_be_read_counts_by_its_size(tmp_path: Path, content: bytes) -> None:
    folder = world.fake_base(tmp_path / "base")
    (folder / "model.safetensors").write_bytes(content)
    recipe = Recipe(base_model=str(folder), task="sequence_classification")
    assert need(recipe, folder, on_card=False).memory < GIB
