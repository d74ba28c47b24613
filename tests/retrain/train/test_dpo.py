"""Preferences: the reference is the champion as it was before the first step, and nothing of it is shipped."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.retrain.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_reference_is_the_champion_before_the_first_step(tiny_causal_base: Path, tmp_path: Path) -> None:
    from retrain.train.model import load_generator
    from retrain.train.run import train

    rows = tiny.pairs(48, answer="please bring your {}").rename({"completion": "chosen"})
    rows = rows.with_columns(tiny.pairs(48)["completion"].alias("rejected"))
    recipe = {"task": "dpo", "preference": {"other": "second", "outcome": "better"}, "max_length": 64, "epochs": 2}
    train(tiny.run_config(tmp_path, tiny_causal_base, rows, rows.head(12), recipe=recipe, labels=[]))
    record = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    champion = load_generator(tiny_causal_base, device="cpu", threads=1, max_length=64)
    prompts = rows["prompt"].to_list()
    sums = [
        np.array([float(one.sum()) for one in champion.token_logprobs(prompts, rows[side].to_list())])
        for side in ("chosen", "rejected")
    ]
    assert record["reference"]["mean_margin_nats"] == pytest.approx(float((sums[0] - sums[1]).mean()), abs=1e-3)
    assert record["loss"][0] == pytest.approx(np.log(2) + 0.2 * -sums[0].sum() / _tokens(champion, rows), rel=0.2)
    assert record["loss"][-1] < record["loss"][0]
    assert record["counts"]["train"]["rows_learned"] == 48
    assert sum(record["learned"]["learned"]) == 2 * record["counts"]["train"]["tokens_learned"]  # in two passes
    assert not [p for p in (tmp_path / "out" / "adapter").iterdir() if p.is_dir()]


def _tokens(champion: object, rows: pl.DataFrame) -> int:
    logprobs = champion.token_logprobs(rows["prompt"].to_list(), rows["chosen"].to_list())  # type: ignore[attr-defined]
    return sum(len(one) for one in logprobs)


def test_pairs_of_one_prompt_are_trained_on_or_looked_at_never_both() -> None:
    from retrain.train.config import Recipe
    from retrain.train.trainers import validation_rows

    given = {"base_model": "./base", "task": "dpo", "preference": {"other": "a", "outcome": "b"}, "early_stopping": 2}
    pairs = [
        {"prompt": at // 6, "chosen": {"input_ids": [at // 6, 9, at], "labels": [-100, -100, at]}} for at in range(60)
    ]
    kept, watched = validation_rows(pairs, Recipe.model_validate(given | {"validation": 0.2}))
    assert (len(kept), len(watched)) == (48, 12)
    assert not {row["prompt"] for row in kept} & {row["prompt"] for row in watched}
    kept, watched = validation_rows(pairs[:8], Recipe.model_validate(given | {"validation": 0.5}))
    assert {len(kept), len(watched)} == {2, 6}
    kept, watched = validation_rows(pairs[:6], Recipe.model_validate(given | {"validation": 0.5}))
    assert (len(kept), len(watched)) == (3, 3)  # one prompt alone
