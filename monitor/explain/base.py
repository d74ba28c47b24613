"""What every explanation shares: its entry in the catalogue, and the record it returns.

A record says what each part of an input (a word, a column) did to one output of the model, and how well the parts add
up: for every output, base value + sum of the parts against the raw output that the model gives for the unchanged input.
Where they do not add up, the record is withheld: it says so and gives no part a value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

TOLERANCE: Final = 1e-4  # of the larger of 1 and the output; models compute in 32-bit floats, in batches of their own
State = Literal["explained", "withheld"]


@dataclass(frozen=True)
class OutputSum:
    """How one output of the model adds up; `residual` = |base_value + sum of the parts - output|, in its unit."""

    label: str
    base_value: float
    output: float
    residual: float


@dataclass(frozen=True)
class WordAttribution:
    """One piece of a text; `piece` is it with the white space around it, so that joined pieces are the text.

    `value` is None where the model did not read the piece, or where the record is withheld.
    """

    word: str
    value: float | None
    piece: str


@dataclass(frozen=True)
class ColumnAttribution:
    """One column of a row; `given` is its value as the model got it. `value` is None where the record is withheld."""

    column: str
    value: float | None
    given: Any


@dataclass(frozen=True, kw_only=True)
class Record:
    """base_value + sum of the parts' values = output, up to `residual`, in `unit`; so for each of `outputs`.

    Attributes:
        label: the output that is explained; its place in `outputs` is `label_index`.
        base_value: the model's output for the background: a text without any of its words, the mean of reference rows.
        background: digest of what a part that is left out is replaced by.
        tolerance: the largest residual with which values are given.
        evals: inputs that the model was asked, `budget` the most it might have been.
        notes: what a reader must know, such as words that the model did not read.
    """

    state: State = "explained"
    reason: str | None = None
    label: str
    label_index: int
    unit: str
    base_value: float
    output: float
    residual: float
    tolerance: float
    outputs: tuple[OutputSum, ...]
    method: str
    background: str
    seed: int
    budget: int
    evals: int
    notes: tuple[str, ...] = ()
    opinions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TextExplanation(Record):
    """Words in the order of the text."""

    words: tuple[WordAttribution, ...]


@dataclass(frozen=True, kw_only=True)
class TableExplanation(Record):
    """Columns in the order of the model's inputs."""

    columns: tuple[ColumnAttribution, ...]


def tolerated(output: float) -> float:
    """The largest residual with which an explanation of this output gives reasons.

    Args:
        output: of the model, in any unit.

    Returns:
        The same unit, > 0.
    """
    return float(TOLERANCE * max(1.0, abs(output)))


def off(outputs: Sequence[OutputSum]) -> str | None:
    """Why no reasons are issued: the outputs that do not add up; None where all do."""
    wrong = [one for one in outputs if not one.residual <= tolerated(one.output)]  # NaN is wrong
    if not wrong:
        return None
    worst = max(wrong, key=lambda one: one.residual if one.residual == one.residual else float("inf"))
    return (
        f"the attributions do not add up to the model's raw output: for {worst.label!r} base value plus sum is off by "
        f"{worst.residual:.3g}, and at most {tolerated(worst.output):.3g} is tolerated ({len(wrong)} of {len(outputs)} "
        "outputs are off); no reasons are issued"
    )


def checked_text(found: TextExplanation) -> TextExplanation:
    """The record, or withheld if an output does not add up.

    Args:
        found: with a value for each word that the model reads.

    Returns:
        The same, without any values where an output does not add up.
    """
    why = off(found.outputs)
    if why is None:
        return found
    return replace(found, state="withheld", reason=why, words=tuple(replace(w, value=None) for w in found.words))


def checked_table(found: TableExplanation) -> TableExplanation:
    """The record, or withheld if an output does not add up."""
    why = off(found.outputs)
    if why is None:
        return found
    return replace(found, state="withheld", reason=why, columns=tuple(replace(c, value=None) for c in found.columns))


@dataclass(frozen=True)
class Explainer:
    """One entry of the catalogue; `input` is the kind of input whose parts it attributes an output to."""

    name: str
    input: Literal["text", "table"]
    unit: str
    compute: Callable[..., Any]
