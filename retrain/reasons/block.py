"""Attributions of some rows as the explaining process writes them, and what reasons read of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl

from core.arrays import Floats
from core.canonical import sha256
from core.errors import InvalidError
from monitor.levels import answer, number_level
from monitor.spec.reasons import AdverseNumber, Reasons


@dataclass(frozen=True, eq=False)
class Block:
    """`frame`: a line for each row, with `reason` where its attributions are withheld; `facts`: about all of them."""

    frame: pl.DataFrame
    facts: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.facts["columns"])

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.facts["outputs"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])

    def sound(self) -> Self:
        """The rows whose attributions are not withheld."""
        return type(self)(self.frame.filter(pl.col("reason").is_null()), self.facts)

    def values(self) -> Floats:
        """Attributions, shape (rows, columns, outputs); of sound rows only.

        Raises:
            InvalidError: some are withheld.
        """
        held = self.frame["values"]
        if held.null_count():
            raise InvalidError(f"attributions of {held.null_count()} of {len(held)} rows are withheld")
        flat = np.asarray(held.to_list(), dtype=np.float64).reshape(len(held), -1)
        return flat.reshape(len(held), len(self.columns), len(self.outputs))

    def importances(self) -> Floats:
        """What each column counts in each row: the sum of |attribution| over the outputs, shape (rows, columns)."""
        found: Floats = np.abs(self.values()).sum(axis=2)
        return found

    def content(self) -> bytes:
        """Attributions of sound rows as JSON, with the place of each row and without ids and inputs."""
        names = ("seq", "own")
        kept = {name: self.frame[name].to_list() for name in names if name in self.frame.columns}
        return json.dumps({"facts": dict(self.facts), **kept, "values": self.frame["values"].to_list()}).encode()

    @classmethod
    def read(cls, content: bytes) -> Self:
        """What `content` stored."""
        found = json.loads(content)
        facts = found.pop("facts")
        nothing = pl.lit(None, dtype=pl.String).alias("reason")
        return cls(pl.DataFrame(found, infer_schema_length=None).with_columns(nothing), facts)


@dataclass(frozen=True)
class AdverseOutput:
    """The output whose attributions are the reasons; `toward` is 1 where a larger one is more adverse, else -1."""

    place: int
    toward: Literal[1, -1]
    means: str


def adverse_output(reasons: Reasons, block: Block, *, truth: bool) -> AdverseOutput:
    """Which output of a model says how adverse a decision is.

    Args:
        truth: whether the prediction is declared as boolean.

    Raises:
        InvalidError: the adverse class is none of the model's.
    """
    if isinstance(reasons.adverse, AdverseNumber):
        return AdverseOutput(0, 1 if reasons.adverse.above is not None else -1, adverse_words(reasons))
    wanted = answer(reasons.adverse, truth=truth)
    classes = [answer(one, truth=truth) for one in block.classes]
    if wanted not in classes:
        raise InvalidError(
            f"reasons.adverse is {reasons.adverse!r}, which is none of the model's classes: "
            f"{', '.join(block.classes)[:200]}",
            field="reasons.adverse", value=reasons.adverse,
        )  # fmt: skip
    means = adverse_words(reasons)
    if len(block.outputs) == 1:  # of two classes: the output is that of the second
        return AdverseOutput(0, 1 if classes.index(wanted) == 1 else -1, means)
    named = [answer(one, truth=truth) for one in block.outputs]
    if wanted not in named:
        raise InvalidError(f"the model has no output for {reasons.adverse!r}", field="reasons.adverse")
    return AdverseOutput(named.index(wanted), 1, means)


def is_adverse(reasons: Reasons, given: Any, *, truth: bool) -> bool:
    """Whether an answer is adverse; None is not."""
    if given is None:
        return False
    if isinstance(reasons.adverse, AdverseNumber):
        below, above = reasons.adverse.below, reasons.adverse.above
        number = float(given)
        return number < below if below is not None else above is not None and number > above
    return written(given, truth=truth) == answer(reasons.adverse, truth=truth)


def written(given: Any, *, truth: bool) -> str | None:
    """An answer as its level."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int | float):
        found = number_level(given)
        return None if found is None else answer(found, truth=truth)
    return None if given is None else answer(str(given), truth=truth)


def adverse_words(reasons: Reasons) -> str:
    """What is adverse, in words."""
    if not isinstance(reasons.adverse, AdverseNumber):
        return repr(reasons.adverse)
    below, above = reasons.adverse.below, reasons.adverse.above
    return f"below {below:g}" if below is not None else f"above {above:g}"


def means_of(values: Floats, columns: Sequence[str]) -> dict[str, float]:
    """Mean attribution of one output by column; (rows, columns) -> by name."""
    return {name: float(mean) for name, mean in zip(columns, values.mean(axis=0), strict=True)}


def digest_of(values: Floats) -> str:
    """Digest of attributions, as 64-bit numbers in the order of the rows."""
    return sha256(np.ascontiguousarray(values, dtype="<f8").tobytes())
