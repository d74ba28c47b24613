"""The estimate of memory against what autograd saves, and against peaks that were measured on a card."""

import dataclasses
from typing import Any

import pytest

from retrain.train.speed.choose import SAFE_SHARE, choose, least, plain
from retrain.train.speed.memory import GIB, Plan, Shape, budgets, kept_per_token, need, saved_per_token
from tests.retrain.train.speed import small
from tests.retrain.train.speed.small import BUDGETS

EIGHT = Shape(4096, 32, 32, 1024, 14336, 128256)


def columns_saved(plan: Plan) -> float:
    """Columns per token that one layer saves for its backward pass, counted with hooks; float32."""
    import torch

    model, _ = small.prepared(plan)
    texts = small.texts()
    row = small.row(texts)
    tokens = sum(len(text) for text in texts)
    base = model.get_base_model().model
    states = base.embed_tokens(row["input_ids"]).detach().requires_grad_()
    places = base.rotary_emb(states, row["position_ids"])
    fixed = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), *places)}
    seen: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in fixed and tensor.numel() >= tokens:
            seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    given = {k: v for k, v in row.items() if k not in ("input_ids", "labels")}
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        base.layers[1](states, attention_mask=None, position_embeddings=places, use_cache=False, **given)
    return sum(float(t.untyped_storage().nbytes()) for t in seen.values()) / tokens / 4


@pytest.mark.filterwarnings("ignore")  # the compiler warns of what it meets in libraries
@pytest.mark.parametrize(
    "plan",
    [
        Plan(64, None, compiled=False),
        Plan(64, 0, compiled=False),
        Plan(64, BUDGETS[5]),
        pytest.param(Plan(64, None), marks=pytest.mark.slow),
        pytest.param(Plan(64, BUDGETS[1]), marks=pytest.mark.slow),
        pytest.param(Plan(64, BUDGETS[-1]), marks=pytest.mark.slow),
    ],
)
def test_a_layer_saves_what_the_estimate_says(plan: Plan) -> None:
    if plan.keep is None:
        expected = saved_per_token(small.SHAPE, small.RANK, compiled=plan.compiled, width=4) / 4
    else:
        expected = kept_per_token(small.SHAPE, plan.keep, small.RANK, width=4) / 4
    assert columns_saved(plan) == pytest.approx(expected, abs=6)  # logarithms of attention, scales of two norms


@pytest.mark.parametrize(
    ("plan", "measured"),  # one H100, 8,192 tokens in one row, r = 16, docs/retraining.md
    [
        (plain(8192), 10.38),
        (Plan(8192, 0), 9.77),
        (Plan(8192, 0, offload=4096), 7.97),
        (Plan(8192, budgets(EIGHT)[-1]), 29.20),
        (Plan(8192, budgets(EIGHT)[-1], every=2), 34.44),
    ],
)
def test_the_whole_is_within_seven_percent_of_what_was_measured(plan: Plan, measured: float) -> None:
    assert need(EIGHT, plan, 16).total / GIB == pytest.approx(measured, rel=0.07)


def chosen(profile: Any, gib: float, **more: Any) -> Any:
    return choose(EIGHT, profile, tokens=8192, rank=16, free=int(gib * GIB), **more)


def test_auto_takes_the_fastest_that_fits_and_less_memory_is_never_faster() -> None:
    found = [chosen("auto", gib) for gib in (79, 40, 24, 16, 12, 9)]
    assert all(fit.fits and fit.bytes_needed <= fit.budget for fit in found)
    assert found[0].plan.keep is None
    assert [fit.time for fit in found] == sorted(fit.time for fit in found)


def test_lean_stays_below_three_quarters_of_a_plain_run_on_any_card() -> None:
    most = 0.75 * need(EIGHT, plain(8192), 16).total
    assert all(chosen("lean", gib).bytes_needed <= most for gib in (79, 24, 12))


def test_what_does_not_fit_is_the_least_there_is_and_says_so() -> None:
    fit = chosen("auto", 4)
    assert not fit.fits
    assert fit.bytes_needed == least(EIGHT, tokens=8192, rank=16)
    assert fit.budget == int(4 * GIB * SAFE_SHARE)


def test_without_a_compiler_nothing_is_planned_compiled() -> None:
    assert not chosen("auto", 79, compiled=False).plan.compiled
    assert not chosen("fast", 79, compiled=False).plan.compiled


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 128,
          "vocab_size": 100, "head_dim": 32}, (128, 128)),
        ({"text_config": {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 9,
                          "num_hidden_layers": 2, "intermediate_size": 128}}, (64, 32)),
        ({"d_model": 64}, None),
        ({"hidden_size": 64, "num_attention_heads": 0, "num_hidden_layers": 2, "intermediate_size": 1,
          "vocab_size": 2}, None),
    ],
)  # fmt: skip
def test_a_shape_is_read_from_the_names_of_a_transformer(config: dict[str, Any], found: tuple[int, int] | None) -> None:
    shape = Shape.of(config)
    assert (None if shape is None else (shape.query_columns, shape.key_columns)) == found


def test_the_shape_is_read_from_the_config_and_counts_as_peft_does() -> None:
    from bench.retraining.model import SIZES, config

    trained = sum(p.numel() for p in small.model().parameters() if p.requires_grad)
    assert small.SHAPE.adapter(small.RANK) == trained
    assert Shape.of(config(SIZES["tiny"]).to_dict()) == small.SHAPE
    assert Shape.of(config(SIZES["8b"]).to_dict()) == dataclasses.replace(EIGHT, query_columns=4096)
    assert dataclasses.replace(small.SHAPE, layers=2).linear * 2 == small.SHAPE.linear
    assert EIGHT.linear == pytest.approx(6.979e9, rel=1e-3)
