"""Rehearsed rows are seen in turns: half of them in an epoch, the other half in the next, all others in each."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from tests.retrain.train import tiny


@pytest.mark.parametrize("known", [0, 39, 40])
def test_two_epochs_have_every_rehearsed_row_and_a_resumed_one_has_the_same(known: int) -> None:
    from retrain.train.trainers import LengthGrouped

    at = SimpleNamespace(state=SimpleNamespace(global_step=0))
    order = LengthGrouped([3 + i % 7 for i in range(100)], 8, 5, cast(Any, at), range(known))
    steps = -(-len(order) // 8)
    epochs = []
    for step in (0, steps, steps, 2 * steps):
        at.state.global_step = step
        epochs.append(list(order))
    assert epochs[1] == epochs[2]
    assert all(len(epoch) == len(set(epoch)) == len(order) == 100 - known // 2 for epoch in epochs)
    assert all(set(range(known, 100)) <= set(epoch) for epoch in epochs)
    assert set(epochs[0]) | set(epochs[1]) == set(range(100))
    assert known == 0 or set(epochs[0]) != set(epochs[3])


def test_only_rehearsed_rows_of_labels_that_are_known_take_turns(tiny_base: Path, tmp_path: Path) -> None:
    from retrain.train.run import train

    rows = pl.concat([tiny.messages(tiny.OLD, 20, seed=1), tiny.messages(tiny.NEW, 10, seed=2)])
    held = tiny.messages(tiny.OLD, 8, seed=3)
    train(tiny.run_config(tmp_path, tiny_base, rows, held, rehearsed=24, recipe={"method": "lora", "epochs": 2}))
    record = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    assert record["rows_in_turns"] == 20  # of the 24 rehearsed rows 4 have labels that are new to the base
    assert sum(record["learned"]["rows"]) == 2 * (10 + 10)
    assert record["hidden_as"] == "<unk>"
