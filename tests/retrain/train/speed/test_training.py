"""Memory that runs out halves the micro-batch at the same rows a step; a compiler that fails leaves eager layers."""

from pathlib import Path
from typing import Any

import pytest

from retrain.train.config import Recipe
from retrain.train.errors import MemoryLimitError
from retrain.train.speed.memory import Plan
from tests.retrain.train.speed import small


def recipe(rows: int = 8, times: int = 1) -> Recipe:
    return Recipe.model_validate(
        {"base_model": "/models/tiny", "task": "causal_lm", "r": small.RANK, "batch_size": rows, "epochs": 1,
         "gradient_accumulation_steps": times, "max_length": 64, "learning_rate": 1e-3}
    )  # fmt: skip


def trained(
    folder: Path, most: int, plan: Plan, *, packed: bool = False, rows: int = 8, **more: Any
) -> tuple[Any, Any]:
    """Train 24 documents on a card whose memory ends above `most` rows in one pass. The trainer and its plan."""
    import torch
    from transformers import PreTrainedTokenizerFast

    from bench.retraining.model import SIZES, tokenizer
    from retrain.train.base_model import quiet
    from retrain.train.speed.training import train_fitting
    from retrain.train.trainers import build_completion_trainer

    model, prepared = small.prepared(plan, packed=packed, **more)
    words: PreTrainedTokenizerFast = tokenizer(SIZES["tiny"])
    # Packed, the row is long enough to hold all documents, so that both ways the first step sees the same.
    given = recipe(rows).model_copy(update={"max_length": 24 * 64}) if packed else recipe(rows)
    examples = [{"input_ids": text.tolist(), "labels": text.tolist()} for text in small.texts(24 * 20)[:24]]

    def card(_: Any, args: Any, given: Any) -> None:
        if given["input_ids"].shape[0] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(card, with_kwargs=True)

    def build(fitted: Recipe) -> Any:
        return build_completion_trainer(model, words, fitted, examples, folder, torch.device("cpu"), packed=packed)

    with quiet():
        return train_fitting(build, given, prepared, lambda: None), prepared


def test_rows_of_a_step_stay_whatever_a_micro_batch_holds() -> None:
    from retrain.train.speed.training import rows_of

    for rows, times in ((8, 1), (6, 2), (5, 1), (7, 3), (1, 4)):
        for most in range(1, 13):
            found = rows_of(recipe(rows, times), most)
            assert found.batch_size * found.gradient_accumulation_steps == rows * times
            assert found.batch_size <= most


def test_a_packed_step_holds_as_many_tokens_as_its_documents_on_average() -> None:
    from retrain.train.speed.training import first_micro_batch

    given = recipe(18).model_copy(update={"max_length": 2048})
    found = first_micro_batch(given, [450] * 100, packed=True)
    assert (found.batch_size, found.gradient_accumulation_steps) == (4, 1)
    found = first_micro_batch(given.model_copy(update={"batch_size": 72}), [450] * 100, packed=True)
    assert (found.batch_size, found.gradient_accumulation_steps) == (4, 4)
    assert first_micro_batch(recipe(2), [3], packed=True).batch_size == 1
    assert first_micro_batch(recipe(4, 8), [20] * 9, packed=False).batch_size == 32


def test_packed_documents_learn_as_documents_one_by_one(tmp_path: Path) -> None:
    losses = []
    for name, packed, rows in (("packed", True, 1), ("single", False, 24)):
        trainer, _ = trained(tmp_path / name, 99, Plan(24 * 64, None, compiled=False), packed=packed, rows=rows)
        losses.append(next(e["loss"] for e in trainer.state.log_history if "loss" in e))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_memory_that_runs_out_halves_until_it_fits_and_the_steps_stay_the_same(tmp_path: Path) -> None:
    plan = Plan(8 * 64, None, compiled=False)
    trainer, prepared = trained(tmp_path / "less", 2, plan)
    assert (trainer.args.per_device_train_batch_size, trainer.args.gradient_accumulation_steps) == (2, 4)
    assert trainer.state.global_step == 3  # 24 rows, 8 a step
    assert [(h["rows"], h["rows_after"]) for h in prepared.record()["out_of_memory"]] == [(8, 4), (4, 2)]
    enough, _ = trained(tmp_path / "enough", 8, plan)
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (enough, trainer)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_memory_that_does_not_hold_one_row_ends_the_run_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MemoryLimitError, match="speed: lean"):
        trained(tmp_path, 0, Plan(8 * 64, None, compiled=False))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns of what it meets in libraries
def test_a_compiler_that_fails_leaves_eager_layers_and_its_reason(tmp_path: Path) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C compiler was found")

    trainer, prepared = trained(tmp_path, 8, Plan(8 * 64, 0), backend=broken)
    assert trainer.state.global_step == 3
    assert prepared.record()["compiled"] is False
    assert any("no C compiler was found" in reason for reason in prepared.record()["reasons"])


def test_a_plan_of_fewer_tokens_starts_with_smaller_micro_batches(tmp_path: Path) -> None:
    trainer, prepared = trained(tmp_path, 8, Plan(4 * 64, None, compiled=False))
    assert (trainer.args.per_device_train_batch_size, trainer.args.gradient_accumulation_steps) == (4, 2)
    assert prepared.halvings == []


def test_the_cpu_says_that_a_profile_changes_nothing_there(tmp_path: Path) -> None:
    import torch

    from retrain.train.speed.prepare import prepare

    found = prepare(
        small.model(), tmp_path, profile="fast", device=torch.device("cpu"), tokens=64, rank=small.RANK, packed=True,
        total_tokens=1e9,
    )  # fmt: skip
    assert found.record()["reasons"] == ["no CUDA device: eager"]
    assert found.attention == "torch_varlen"  # rows that are packed are told apart there, on any device
