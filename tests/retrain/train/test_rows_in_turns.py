"""Rehearsed rows are seen in turns: each epoch leaves out another third of them, and has all others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from tests.retrain.train import tiny


@pytest.mark.parametrize("known", [0, 39, 40])
def test_three_epochs_leave_out_each_rehearsed_row_once_and_a_resumed_one_has_the_same(known: int) -> None:
    from retrain.train.trainers import LengthGrouped

    at = SimpleNamespace(state=SimpleNamespace(global_step=0))
    order = LengthGrouped([3 + i % 7 for i in range(100)], 8, 5, cast(Any, at), range(known))
    steps = -(-len(order) // 8)
    epochs = []
    for step in (0, steps, 2 * steps, 2 * steps, 3 * steps):
        at.state.global_step = step
        epochs.append(list(order))
    assert epochs[2] == epochs[3]
    assert all(len(epoch) == len(set(epoch)) == len(order) == 100 - known // 3 for epoch in epochs)
    assert all(set(range(known, 100)) <= set(epoch) for epoch in epochs)
    left_out = [set(range(100)) - set(epoch) for epoch in epochs]
    assert len(left_out[0] | left_out[1] | left_out[2]) == 3 * (known // 3)
    assert known == 0 or left_out[0] != left_out[4]


def test_only_rehearsed_rows_of_labels_that_are_known_take_turns(tiny_base: Path, tmp_path: Path) -> None:
    from retrain.train.run import train

    rows = pl.concat([tiny.messages(tiny.OLD, 20, seed=1), tiny.messages(tiny.NEW, 10, seed=2)])
    held = tiny.messages(tiny.OLD, 8, seed=3)
    train(
        tiny.run_config(
            tmp_path, tiny_base, rows, held, rehearsed=24, recipe={"method": "lora", "epochs": 2, "hide_words": 0.1}
        )
    )
    record = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    assert record["rows_in_turns"] == 20  # of the 24 rehearsed rows 4 have labels that are new to the base
    assert sum(record["learned"]["rows"]) == 2 * (10 + 14)
    assert record["hidden_as"] == "<unk>"
