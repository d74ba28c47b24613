"""Tiny models, made once."""

from pathlib import Path

import pytest

from tests.retrain.train import tiny


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier that knows the four old intents."""
    from retrain.train.demo_base import make_base

    folder = tmp_path_factory.mktemp("classifier")
    make_base(tiny.base_config(folder, tiny.messages(tiny.OLD, 320)))
    return folder / "base"


@pytest.fixture(scope="session")
def tiny_causal_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model that knows one kind of answer."""
    from retrain.train.demo_base import make_base

    folder = tmp_path_factory.mktemp("causal")
    make_base(tiny.base_config(folder, tiny.pairs(160), task="causal_lm", epochs=16))
    return folder / "base"


@pytest.fixture(scope="session")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole QLoRA run that taught the tiny classifier the two new intents."""
    from retrain.train.run import train

    folder = tmp_path_factory.mktemp("trained")
    rows, held_out = (
        tiny.messages((*tiny.OLD, *tiny.NEW), 240, seed=1),
        tiny.messages((*tiny.OLD, *tiny.NEW), 60, seed=2),
    )
    train(tiny.run_config(folder, tiny_base, rows, held_out))
    return folder
