"""What every explanation shares: its entry in the catalogue, and the record it returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WordAttribution:
    word: str
    value: float


@dataclass(frozen=True)
class TextExplanation:
    """base_value + sum of the words' values = output, up to `residual`, in the unit of the output (probability).

    `base_value` is the model's output for the text without any of its words.
    """

    words: tuple[WordAttribution, ...]
    base_value: float
    output: float
    residual: float
    label_index: int
    method: str
    evals: int
    seed: int


@dataclass(frozen=True)
class Explainer:
    """One entry of the catalogue; `input` is the kind of column whose values it attributes an output to."""

    name: str
    input: Literal["text"]
    unit: str
    compute: Callable[..., TextExplanation]
