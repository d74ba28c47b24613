"""Attributions of rows in one shape, whichever library computed them, and what they add up to."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.arrays import Flags, Floats

RELATIVE: Final = 1e-4  # of the size of an output's terms: trees and networks compute in 32-bit floats


@dataclass(frozen=True, slots=True, eq=False)
class Attributions:
    """For each row and output: base + sum of the features' values should be the model's raw output.

    Attributes:
        values: shape (rows, features, outputs), in the unit of the raw output.
        base: the output for the background, shape (rows, outputs).
        raw: what the model itself gives for the rows, in the same unit, shape (rows, outputs). It is asked apart from
            the computation of the values, so that an error of that computation shows.
        method: how the values were computed, as people read it.
        background_rows: rows that a feature's absence was averaged over; 0 where the trees' own counts stood for them.
        evals: rows that the model was called with, for all rows together.
    """

    values: Floats
    base: Floats
    raw: Floats
    method: str
    background_rows: int = 0
    evals: int = 0

    @property
    def residual(self) -> Floats:
        """|base + sum of values - raw|, shape (rows, outputs); NaN where one of them is no number."""
        found: Floats = np.abs(self.base + self.values.sum(axis=1) - self.raw)
        return found

    @property
    def tolerance(self) -> Floats:
        """The largest residual with which reasons are issued, shape (rows, outputs).

        It grows with the terms that are summed, not with 1: an output of 0.001 that is off by 0.0005 is wrong, and one
        of 0 that is the sum of 10,000 and -10,000 cannot be as exact as one of 0 that is the sum of nothing.
        """
        size = np.abs(self.base) + np.abs(self.values).sum(axis=1) + np.abs(self.raw)
        found: Floats = RELATIVE * size
        return found

    @property
    def adds_up(self) -> Flags:
        """Whether each output of each row adds up, shape (rows, outputs); what is no number does not."""
        found: Flags = self.residual <= self.tolerance
        return found


def grouped(values: Floats, members: list[list[int]]) -> Floats:
    """Values of groups of features: their sums.

    Args:
        values: shape (rows, features, outputs).
        members: by group, the places of its features.

    Returns:
        Shape (rows, len(members), outputs), in the unit of the values; a group without features has value 0.
    """
    parts = [values[:, places, :].sum(axis=1) for places in members]
    found: Floats = np.stack(parts, axis=1)
    return found
