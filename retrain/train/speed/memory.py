"""What a training step needs of the card's memory, by the shape of the model; plain numbers, no torch.

Sizes of one layer were counted with hooks on the tensors that autograd saves, which a test counts again; the whole was
compared with peaks measured on an H100 (docs/retraining.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

NF4_BYTES: Final = 0.5159  # a parameter, with double quantisation and the scales of the scales
HEAD_ROWS, HEAD_WORDS = 4096, 32768  # tile of the loss over the output layer in TRL
COPIES: Final = 4  # layers whose copies to or from host memory are under way
GIB: Final = 1024**3

Optimiser = Literal["adamw_torch_fused", "adamw_8bit"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides its memory. Sizes in columns, `linear` in parameters of all products but the last."""

    hidden: int
    layers: int
    heads: int
    key_columns: int
    feed_forward: int
    vocabulary: int
    tied: bool = False
    query_columns: int = 0  # heads x head size, which need not be `hidden`

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self | None:
        """From a model's config.json; None where it names its sizes otherwise."""
        config = config.get("text_config") or config
        try:
            heads = int(config["num_attention_heads"])
            hidden = int(config["hidden_size"])
            size = int(config.get("head_dim") or hidden // heads)
            return cls(
                hidden=hidden, layers=int(config["num_hidden_layers"]), heads=heads,
                key_columns=int(config.get("num_key_value_heads") or heads) * size,
                feed_forward=int(config["intermediate_size"]), vocabulary=int(config["vocab_size"]),
                tied=bool(config.get("tie_word_embeddings", False)), query_columns=heads * size,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None

    @property
    def columns_out(self) -> tuple[int, ...]:
        """Columns of the products of a layer in the order of execution: q, k, v, o, gate, up, down."""
        query = self.query_columns or self.hidden
        return (
            query,
            self.key_columns,
            self.key_columns,
            self.hidden,
            self.feed_forward,
            self.feed_forward,
            self.hidden,
        )

    @property
    def columns_in(self) -> tuple[int, ...]:
        query = self.query_columns or self.hidden
        return (self.hidden, self.hidden, self.hidden, query, self.hidden, self.hidden, self.feed_forward)

    @property
    def linear(self) -> int:
        return self.layers * sum(a * b for a, b in zip(self.columns_in, self.columns_out, strict=True))

    @property
    def words(self) -> int:
        """Parameters of the table of words, and as many of the output layer unless they are one."""
        return self.vocabulary * self.hidden

    def adapter(self, rank: int) -> int:
        """Trained parameters with an adapter on every product of every layer."""
        return self.layers * rank * (sum(self.columns_in) + sum(self.columns_out))


@dataclass(frozen=True, slots=True)
class Plan:
    """How a step is computed. `keep` as in `layers.checkpoint_layers`: None checkpoints no layer."""

    tokens: int  # of one pass
    keep: int | None = 0
    every: int = 1
    compiled: bool = True
    packed: bool = True
    offload: int = 0  # columns per token and layer that wait in host memory
    host_words: bool = False
    unpacked: bool = False
    optimiser: Optimiser = "adamw_torch_fused"


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of a step at its peak, by what they are for."""

    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def budgets(shape: Shape) -> tuple[int, ...]:
    """The useful values of `keep`, ascending: none; attention alone (1); then with q, k, v, o, gate and up in turn.

    Attention itself is not counted in columns, hence the 1. The last product of a layer is never worth keeping, for
    the backward pass does not read it.
    """
    total, found = 0, [0, 1]
    for width in shape.columns_out[:-1]:
        total += width
        found.append(total)
    return tuple(found)


def kept_per_token(shape: Shape, keep: int, rank: int, width: int = 2) -> int:
    """Bytes per token that a checkpointed layer keeps from its forward to its backward pass."""
    columns = shape.hidden + (keep if keep > 1 else 0)
    if keep > 0:
        columns += (shape.query_columns or shape.hidden) + rank * len(shape.columns_out)
    return columns * width + (4 * shape.heads if keep > 0 else 0)


def saved_per_token(shape: Shape, rank: int, *, compiled: bool, width: int = 2) -> int:
    """Bytes per token that a layer without checkpoint saves for its backward pass, dropout 0.

    Counted on a Llama layer. Compiled, what is cheap is computed again where it is read. Norms in 2 bytes a number save
    their input in 4 unless they are compiled.
    """
    query = shape.query_columns or shape.hidden
    adapter = rank * len(shape.columns_out)
    columns = 4 * shape.hidden + 2 * query + 2 * shape.key_columns + 3 * shape.feed_forward + adapter
    if not compiled:
        columns += shape.feed_forward + (2 * shape.hidden if width == 2 else 0)
    return columns * width + 4 * shape.heads


def need(shape: Shape, plan: Plan, rank: int, *, width: int = 2, quantised: bool = True) -> Need:
    """Bytes of a training step at its peak.

    Args:
        shape: of the model.
        plan: how the step is computed.
        rank: of the adapter, on every product.
        width: bytes of a number in activations and in weights that are not quantised.
        quantised: whether the frozen products are in 4 bits.

    Returns:
        The parts; the step's own is that of the layer in its backward pass, or of the output layer where that is more.
    """
    frozen = NF4_BYTES if quantised and not plan.unpacked else width
    words = shape.words * width * (1 if shape.tied else 2)
    if plan.host_words and not shape.tied:
        words -= shape.words * width
    state = 8 if plan.optimiser == "adamw_torch_fused" else 2
    layer = saved_per_token(shape, rank, compiled=plan.compiled, width=width)
    if plan.keep is None:
        checkpointed, kept = 0, 0
    else:
        checkpointed = -(-shape.layers // plan.every)
        kept = kept_per_token(shape, plan.keep, rank, width)
    whole = (shape.layers - checkpointed) * layer
    away = min(plan.offload * width, kept)
    held = checkpointed * (kept - away) + min(checkpointed, COPIES) * away
    largest = max(a * b for a, b in zip(shape.columns_in, shape.columns_out, strict=True))
    gradients = 2 * (shape.feed_forward + shape.hidden) * width
    backward = plan.tokens * ((layer if checkpointed else 0) + gradients) + 2 * width * largest * (frozen == NF4_BYTES)
    head = 4 * HEAD_ROWS * min(HEAD_WORDS, shape.vocabulary) // 2 + 4 * shape.hidden * plan.tokens
    mask = 0 if plan.packed else plan.tokens**2 * 2
    return Need(
        {
            "frozen weights": int(shape.linear * frozen),
            "words and output layer": words,
            "adapter, gradients and optimiser": shape.adapter(rank) * (4 + 4 + state),
            "kept for the backward pass": plan.tokens * (whole + held),
            "the step itself": max(backward, head) + mask,
        }
    )
