"""Training within the memory there is: micro-batches that fit, and half as many rows where memory runs out."""

import gc
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from retrain.train.config import Recipe
from retrain.train.errors import MemoryLimitError
from retrain.train.speed.choose import PASS_TOKENS
from retrain.train.speed.prepare import Prepared, without_compiling

Build = Callable[[Recipe], Trainer]


def rows_of(recipe: Recipe, most: int) -> Recipe:
    """The recipe with micro-batches of at most `most` rows, and as many of them as keep the rows of a step.

    The rows of a step are shared out evenly: a micro-batch gets the largest divisor of them that is not above `most`.
    """
    step = recipe.batch_size * recipe.gradient_accumulation_steps
    rows = max(n for n in range(1, step + 1) if step % n == 0 and n <= max(1, most))
    return recipe.model_copy(update={"batch_size": rows, "gradient_accumulation_steps": step // rows})


def first_micro_batch(recipe: Recipe, lengths: Sequence[int], *, packed: bool, cards: int = 1) -> Recipe:
    """The recipe with the micro-batch that a card is tried with first: `PASS_TOKENS` where a step has so many.

    Packed, rows are filled with documents, so a step gets as many rows as hold the tokens of its documents on average:
    the number of steps stays about what the recipe says.

    Args:
        recipe: as declared, in documents.
        lengths: tokens of each document, not empty.
        packed: whether rows are packed.
        cards: how many share the rows of a step.
    """
    most = max(1, PASS_TOKENS // recipe.max_length)
    if not packed:
        return rows_of(recipe, max(most, recipe.batch_size))
    step = recipe.batch_size * recipe.gradient_accumulation_steps
    rows = cards * max(1, round(step * sum(lengths) / len(lengths) / recipe.max_length / cards))
    return rows_of(recipe.model_copy(update={"batch_size": rows, "gradient_accumulation_steps": 1}), most)


def share(recipe: Recipe, cards: int) -> Recipe:
    """What one of several cards does of a recipe's step, whose rows they share evenly."""
    step = recipe.batch_size * recipe.gradient_accumulation_steps
    own = recipe.model_copy(update={"batch_size": max(1, step // cards), "gradient_accumulation_steps": 1})
    return rows_of(own, recipe.batch_size)


def train_fitting(
    build: Build, recipe: Recipe, prepared: Prepared, resume: Callable[[], Path | None], *, cards: int = 1
) -> Trainer:
    """Train to the end; whenever memory runs out, go on from the last checkpoint with micro-batches half the size.

    Args:
        build: makes a trainer for a recipe, on the same model.
        recipe: as declared; its rows of a step stay what they are.
        prepared: the plan; each halving is recorded in it.
        resume: the last whole checkpoint, asked before each start.
        cards: how many share the rows of a step.

    Raises:
        MemoryLimitError: memory ran out with one row in a micro-batch, or on one of several cards.
    """
    current = rows_of(recipe, max(1, prepared.plan.tokens // recipe.max_length))
    if cards > 1:
        current = share(current, cards)
    while True:
        trainer = build(current)
        try:
            _try_longest(trainer, current, prepared)
            found = resume()
            trainer.train(resume_from_checkpoint=str(found) if found else None)
        except torch.OutOfMemoryError as error:
            current = _halved(current, prepared, trainer.state.global_step, error, cards)
        else:
            return trainer
        _forget(trainer)


def _halved(recipe: Recipe, prepared: Prepared, step: int, error: Exception, cards: int) -> Recipe:
    rows, times = recipe.batch_size, recipe.gradient_accumulation_steps
    if cards > 1:
        raise MemoryLimitError(
            f"recipe.batch_size: {rows} rows a pass do not fit the memory of each of {cards} GPUs; use fewer "
            "rows, speed: lean, or one card (train.cards 1), where a run halves them itself",
            field="recipe.batch_size",
        ) from error
    if rows == 1:
        raise MemoryLimitError(
            f"recipe.max_length: {recipe.max_length} tokens of one row do not fit the GPU's memory; use shorter rows, "
            "speed: lean, or a smaller base model",
            field="recipe.max_length",
        ) from error
    less = rows_of(recipe, rows // 2)
    prepared.halvings.append({"step": step, "rows": rows, "accumulation": times, "rows_after": less.batch_size})
    return less


def _forget(trainer: Trainer) -> None:
    """Let go of what a failed attempt holds on the card."""
    if trainer.model is not None:
        trainer.model.zero_grad(set_to_none=True)
    trainer.optimizer = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _try_longest(trainer: Trainer, recipe: Recipe, prepared: Prepared) -> None:
    """One forward and backward pass of the longest rows: memory runs out before time was spent, not after.

    A compiler that fails does so here; the layers then run eager. The pass changes neither weights nor random numbers.
    """
    device = trainer.args.device
    if device.type != "cuda" and not prepared.plan.compiled:
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            _pass(trainer, recipe.batch_size, device)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler raises what it likes
            if not prepared.plan.compiled:
                raise
            without_compiling(trainer.model, prepared, error)
            _pass(trainer, recipe.batch_size, device)
    if device.type == "cuda":
        prepared.trial_bytes = torch.cuda.max_memory_allocated(device)


def _pass(trainer: Trainer, rows: int, device: torch.device) -> None:
    model: Any = trainer.model
    model.train()
    examples: Sequence[Any] = trainer.train_dataset  # type: ignore[assignment]
    longest = sorted(range(len(examples)), key=lambda i: -len(examples[i]["input_ids"]))[:rows]
    collate: Any = trainer.data_collator
    inputs = trainer._prepare_inputs(collate([examples[i] for i in longest]))
    autocast = torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()
    with autocast:
        loss = trainer.compute_loss(model, inputs)
    torch.autograd.backward(loss)
    model.zero_grad(set_to_none=True)
