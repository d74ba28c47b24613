"""A tiny Llama of four layers in 4 bits, its plans, and documents to train on. torch is loaded inside tests only."""

from typing import Any, Final

from retrain.train.speed.memory import Plan, Shape, budgets

RANK: Final = 4
SHAPE: Final = Shape(64, 4, 4, 32, 128, 512, query_columns=64)  # of bench/retraining/model.py, "tiny"
BUDGETS: Final = budgets(SHAPE)


def model() -> Any:
    """The same weights at every call."""
    import torch

    from bench.retraining.model import SIZES, adapted, llama

    return adapted(llama(SIZES["tiny"], torch.device("cpu")), rank=RANK)


def prepared(plan: Plan, *, packed: bool = True, backend: Any = "aot_eager") -> tuple[Any, Any]:
    import torch

    from retrain.train.speed.prepare import apply

    torch._dynamo.reset()
    made = model()
    device = torch.device("cpu")
    return made, apply(made, plan, profile="auto", device=device, rank=RANK, packed=packed, backend=backend)


def texts(tokens: int = 120, seed: int = 1) -> list[Any]:
    import torch

    from bench.retraining.model import SIZES, documents

    return [torch.tensor(ids) for ids in documents(SIZES["tiny"], tokens, seed=seed)]


def toy() -> list[Any]:
    import torch

    from bench.retraining.model import SIZES, pattern

    return [torch.tensor(ids) for ids in pattern(SIZES["tiny"], 32)]


def row(documents: list[Any]) -> dict[str, Any]:
    import torch

    from retrain.train.speed.gate import packed

    return packed(documents, torch.device("cpu"))
