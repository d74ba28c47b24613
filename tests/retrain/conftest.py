"""Tiny models, made once."""

from pathlib import Path

import pytest

from tests.once import once
from tests.retrain.train import tiny


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier that knows the four old intents."""
    from retrain.train.demo_base import make_base

    def make(folder: Path) -> None:
        make_base(tiny.base_config(folder, tiny.messages(tiny.OLD, 320)))

    return once(tmp_path_factory, "classifier", make) / "base"


@pytest.fixture(scope="session")
def tiny_causal_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model that knows one kind of answer."""
    from retrain.train.demo_base import make_base

    def make(folder: Path) -> None:
        make_base(tiny.base_config(folder, tiny.pairs(160), task="causal_lm", epochs=16))

    return once(tmp_path_factory, "causal", make) / "base"


@pytest.fixture(scope="session")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole QLoRA run that taught the tiny classifier the two new intents."""
    from retrain.train.run import train

    known = (*tiny.OLD, *tiny.NEW)

    def make(folder: Path) -> None:
        rows, held_out = tiny.messages(known, 240, seed=1), tiny.messages(known, 60, seed=2)
        train(tiny.run_config(folder, tiny_base, rows, held_out))

    return once(tmp_path_factory, "trained", make)
