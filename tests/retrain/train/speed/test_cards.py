"""A run on several cards: on the CPU a process stands for each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.process import environment
from retrain.train.config import RunConfig
from retrain.train.config_file import load_config
from retrain.train.errors import CardsError
from retrain.train.speed.cards import check_shared, see_one_card
from tests.retrain.train import tiny


def started(module: str, config: Path) -> int:
    return subprocess.run([sys.executable, "-m", module, str(config)], env=environment(1), check=False).returncode


def config(folder: Path, base: Path, **more: Any) -> Path:
    both = (*tiny.OLD, *tiny.NEW)
    return tiny.run_config(folder, base, tiny.messages(both, 96, seed=1), tiny.messages(both, 32, seed=2), **more)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path, tiny_base: Path) -> None:
    cards = []
    for number in (1, 2):
        assert started("retrain.train.run", config(tmp_path / str(number), tiny_base, cards=number)) == 0
        cards.append(json.loads((tmp_path / str(number) / "out" / "adapter" / "run.json").read_text()))
        assert not (tmp_path / str(number) / "out" / ".cards").exists()
    assert cards[0]["steps"] == cards[1]["steps"]
    assert cards[0]["loss"] == pytest.approx(cards[1]["loss"], rel=1e-4)
    assert cards[0]["learned"]["rows"] == cards[1]["learned"]["rows"]
    assert cards[0]["digests"]["config"] == cards[1]["digests"]["config"]


@pytest.mark.slow
def test_a_run_that_fails_on_its_cards_says_why_and_leaves_no_process(tmp_path: Path, tiny_base: Path) -> None:
    path = config(tmp_path, tiny_base, cards=2)
    document = json.loads(path.read_text())
    document["recipe"]["batch_size"] = 15
    path.write_text(json.dumps(document))
    assert started("retrain.train.run", path) == 2
    report = json.loads((tmp_path / "out" / "exit.json").read_text())
    assert (report["state"], report["code"]) == ("failed", "cards_invalid")
    assert not (tmp_path / "out" / ".cards").exists()


def test_rows_that_cannot_be_shared_evenly_are_refused(tmp_path: Path) -> None:
    found = load_config(config(tmp_path, tmp_path / "base", cards=2), RunConfig)
    check_shared(found)
    with pytest.raises(CardsError, match="multiple of 3"):
        check_shared(found.model_copy(update={"cards": 3}))


@pytest.mark.parametrize(("given", "seen"), [(None, "0"), ("2", "2"), ("", "")])
def test_a_run_on_one_card_sees_the_first_unless_the_user_chose(
    given: str | None, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    see_one_card()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_each_card_takes_an_equal_share_in_passes_that_fit() -> None:
    from retrain.train.speed.training import share

    recipe = load_recipe(batch_size=4, gradient_accumulation_steps=4)
    own = share(recipe, 2)
    assert (own.batch_size, own.gradient_accumulation_steps) == (4, 2)
    assert share(load_recipe(batch_size=8), 2).batch_size == 4


def load_recipe(**more: Any) -> Any:
    from retrain.train.config import Recipe

    return Recipe.model_validate({"base_model": "/models/tiny", "task": "causal_lm", **more})
