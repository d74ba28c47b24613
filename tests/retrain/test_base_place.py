"""A spec that names a base model is no way to ask which folders and people a machine has."""

import os
from pathlib import Path

import pytest

from retrain.envelope import base_folder
from retrain.errors import BaseModelError
from retrain.train.config import Recipe


def recipe(place: str) -> Recipe:
    return Recipe.model_validate({"base_model": place, "method": "lora", "task": "sequence_classification"})


def refusal(place: str, home: Path, roots: tuple[Path, ...] = ()) -> tuple[str, object]:
    with pytest.raises(BaseModelError) as caught:
        base_folder(recipe(place), home, roots)
    assert caught.value.facts.get("value") in (place, None)
    return caught.value.message.replace(place, "PLACE"), caught.value.facts["field"]


def whole(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def test_whatever_holds_no_model_has_one_answer(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "there" / "below").mkdir(parents=True)
    (home / "file").write_text("x")
    (home / "ring").symlink_to("ring")
    os.mkfifo(home / "there" / "config.json")
    places = [
        "/", "/etc", "/etc/passwd", "/nowhere", "~/none-of-this", "~/..", "./there", "./file",
        "./ring", "./none", "../home", f"/{'n' * 300}",
    ]  # fmt: skip
    assert len({refusal(place, home) for place in places}) == 1
    assert not any(str(tmp_path) in refusal(place, home)[0] for place in places)


def test_a_model_outside_the_declared_folders_is_answered_as_one_that_is_not_there(tmp_path: Path) -> None:
    home, inside, outside = tmp_path / "home", whole(tmp_path / "models/a"), whole(tmp_path / "private/b")
    (tmp_path / "models/link").symlink_to(outside)
    roots = (tmp_path / "models",)
    assert base_folder(recipe(str(inside)), home, roots) == inside
    assert base_folder(recipe(str(outside)), home) == outside
    missing = refusal(str(tmp_path / "models/none"), home, roots)
    for place in (str(outside), str(tmp_path / "models/link"), str(tmp_path / "models/../private/b"), "../private/b"):
        assert refusal(place, home, roots) == missing


def test_an_error_about_a_model_names_it_as_the_spec_does(tmp_path: Path) -> None:
    folder = whole(tmp_path / "home/models/a")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    words, _ = refusal("./models/a", tmp_path / "home")
    assert "only pickled weights" in words
    assert str(tmp_path) not in words
