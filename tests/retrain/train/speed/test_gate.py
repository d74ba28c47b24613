"""The correctness gate passes every way of computing a step, and refuses steps that are wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from retrain.train.errors import DataError
from retrain.train.speed.memory import Plan
from tests.retrain.train.speed import small
from tests.retrain.train.speed.small import BUDGETS


def verdict(plan: Plan, spoil: Callable[[Any], None] = lambda model: None) -> Any:
    from retrain.train.speed.gate import judge

    fast, _ = small.prepared(plan)
    spoil(fast)
    return judge(fast, small.model(), small.texts(), small.toy())


@pytest.mark.filterwarnings("ignore")  # the compiler warns of what it meets in libraries
@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(64, None, compiled=False, unpacked=True), id="nothing twice, weights unpacked"),
        pytest.param(Plan(64, 0, compiled=False, host_words=True), id="everything twice, words in host memory"),
        pytest.param(Plan(64, BUDGETS[4], compiled=False, offload=64), id="some kept, some in host memory"),
        pytest.param(Plan(64, BUDGETS[-1], every=2), id="every second layer, compiled", marks=pytest.mark.slow),
        pytest.param(Plan(64, BUDGETS[4], offload=64), id="some kept, compiled", marks=pytest.mark.slow),
    ],
)
def test_every_plan_computes_the_loss_and_the_gradients_of_the_reference(plan: Plan) -> None:
    found = verdict(plan)
    assert found.reasons == ()
    assert found.worst_cosine > 0.99999


@pytest.mark.filterwarnings("ignore")  # the compiler warns of what it meets in libraries
def test_a_compiled_layer_that_keeps_some_has_the_gradients_of_an_eager_one() -> None:
    import torch

    found = []
    for plan in (Plan(64, None, compiled=False), Plan(64, BUDGETS[4], offload=64)):
        model, prepared = small.prepared(plan)
        model.train()
        row = small.row(small.texts())
        model(**row, use_cache=False).loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-6)
    assert prepared.offload.copied > 0


def _one_row(model: Any) -> None:
    """Attend across documents, as a lost mask does."""
    model.register_forward_pre_hook(
        lambda _, args, given: (args, given | {"cu_seq_lens_q": given["cu_seq_lens_q"][[0, -1]]}), with_kwargs=True
    )


def _frozen(model: Any) -> None:
    next(p for n, p in model.named_parameters() if "layers.1" in n and "lora_A" in n).requires_grad_(False)


def _scaled(model: Any) -> None:
    for layer in model.get_base_model().model.layers[:1]:
        layer.mlp.register_full_backward_hook(lambda _, into, out: tuple(-x for x in into))


@pytest.mark.parametrize(
    ("spoil", "words"), [(_one_row, "packed and single"), (_frozen, "no gradient reaches"), (_scaled, "cosine")]
)
def test_a_step_that_is_wrong_is_refused_with_what_is_wrong(spoil: Callable[[Any], None], words: str) -> None:
    assert any(words in reason for reason in verdict(Plan(64, None, compiled=False), spoil).reasons)


def test_packed_attention_without_lengths_or_with_a_mask_is_an_error() -> None:
    import torch

    from retrain.train.speed import attention

    states = torch.zeros(1, 2, 8, 4)
    with pytest.raises(DataError, match="cu_seq_lens_q"):
        attention.attend(torch.nn.Identity(), states, states, states)
    with pytest.raises(DataError, match="attention_mask"):
        bounds = torch.tensor([0, 8], dtype=torch.int32)
        attention.attend(torch.nn.Identity(), states, states, states, torch.ones(1, 8), cu_seq_lens_q=bounds)


@pytest.mark.parametrize("window", [None, 3])
def test_gradients_of_packed_attention_are_those_of_autograd(window: int | None) -> None:
    import torch

    from retrain.train.speed import attention

    torch.manual_seed(0)
    query, key, value = (torch.randn(1, heads, 12, 4, dtype=torch.float64) for heads in (4, 2, 2))
    bounds = torch.tensor([0, 5, 12], dtype=torch.int32)

    def out(*states: Any) -> Any:
        return attention.attend(torch.nn.Identity(), *states, cu_seq_lens_q=bounds, sliding_window=window)[0]

    inputs = [x.requires_grad_() for x in (query, key, value)]
    assert torch.autograd.gradcheck(out, inputs)


def test_a_packed_row_has_no_label_on_a_first_token_and_no_mask() -> None:
    import torch

    row = small.row([torch.tensor([5, 6, 7]), torch.tensor([8, 9])])
    assert row["labels"].tolist() == [[-100, 6, 7, -100, 9]]
    assert row["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert row["cu_seq_lens_q"].tolist() == [0, 3, 5]
    assert row["max_length_q"] == 3
    assert "attention_mask" not in row
