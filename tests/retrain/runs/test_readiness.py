"""What `assay doctor` says of a recipe: base model, licence, memory."""

import json
from pathlib import Path
from typing import Any

import pytest

from retrain.runs.readiness import licence, readiness
from tests.retrain import world

CARD = {"device": "cuda", "free": 79 * 2**30, "total": 80 * 2**30}
EIGHT_BILLION = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
}  # fmt: skip


def base(folder: Path, config: dict[str, Any] = EIGHT_BILLION) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def states(folder: Path, machine: dict[str, Any] | None, **recipe: Any) -> dict[str, tuple[str, str]]:
    spec = world.spec(folder, recipe={"batch_size": 4, "max_length": 2048, "r": 16, **recipe})
    lines = readiness(spec, folder.parent, machine)
    return {line.check.removeprefix("router: "): (line.state, line.detail) for line in lines}


def test_a_card_with_room_is_ready_and_the_memory_is_in_the_answer(tmp_path: Path) -> None:
    found = states(base(tmp_path / "base"), CARD)
    assert found["base model"][0] == found["memory"][0] == "ok"
    assert "GiB" in found["memory"][1]
    assert found["licence"][0] == "unknown"


def test_a_card_too_small_for_one_row_is_named_with_what_is_needed(tmp_path: Path) -> None:
    found = states(base(tmp_path / "base"), CARD | {"free": 3 * 2**30})
    assert found["memory"][0] == "missing"
    assert "even one row" in found["memory"][1]


def test_a_micro_batch_too_large_is_ready_where_one_row_fits(tmp_path: Path) -> None:
    found = states(base(tmp_path / "base"), CARD | {"free": 24 * 2**30}, speed="fast")
    assert found["memory"][0] == "ok"
    assert "one row a pass" in found["memory"][1]


def test_a_missing_base_model_is_missing_and_nothing_else_is_asked(tmp_path: Path) -> None:
    found = states(tmp_path / "nowhere", CARD)
    assert list(found) == ["base model"]
    assert found["base model"][0] == "missing"


def test_sizes_under_other_names_and_an_unknown_machine_say_unknown(tmp_path: Path) -> None:
    assert states(base(tmp_path / "a", {"model_type": "odd", "d_model": 64}), CARD)["memory"][0] == "unknown"
    assert states(base(tmp_path / "b"), None)["memory"][0] == "unknown"


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("README.md", "---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n", "apache-2.0"),
        ("README.md", "---\nlicense: other\nlicense_name: llama3.1\n---\n", "llama3.1"),
        ("README.md", "# A model without a head\n", None),
        ("LICENSE", "                Apache License\n          Version 2.0, January 2004\n", "apache-2.0"),
        ("LICENSE.txt", "MIT License\n\nCopyright\n", "mit"),
        ("LICENCE", "Our own words\n", "see LICENCE"),
    ],
)
def test_the_licence_is_read_from_card_or_title(tmp_path: Path, file: str, text: str, found: str | None) -> None:
    (tmp_path / file).write_text(text)
    assert licence(tmp_path) == found
