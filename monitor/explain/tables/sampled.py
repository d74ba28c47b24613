"""Shapley values of any model of typed columns, by asking it: over all subsets of columns, or over permutations.

A column that is left out has the values of the background rows, one after the other, while the others keep theirs.

shap has both explainers. They are not called here, because shap compiles their loops anew in every process (34 seconds
beside other work), sends the model ten subsets at a time, and draws the permutations of a row from what the rows before
it left of numpy's global state. Tests compare the values with shap's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import factorial
from typing import Final

import numpy as np
import polars as pl

from core.arrays import Flags, Floats, Ints
from core.errors import InvalidError
from monitor.explain.tables.attributions import Attributions

MOST_EXACT: Final = 12  # columns of which all subsets are asked
MOST_PAIRS: Final = 10
CALL_ROWS: Final = 20_000  # that the model is called with at a time
EXACT: Final = "exact Shapley values over all subsets of columns, those left out replaced by background rows"
PERMUTED: Final = "Shapley values over permutations and their reverses, columns left out replaced by background rows"
Model = Callable[[pl.DataFrame], Floats]


class NoBackgroundError(InvalidError):
    code = "no_background"


@dataclass(frozen=True, slots=True)
class Plan:
    """How one row is explained: over all subsets (`pairs` 0), or over permutations, each with its reverse."""

    pairs: int
    background_rows: int
    evals: int  # rows that the model is called with


def plan_of(columns: int, background_rows: int, budget: int) -> Plan:
    """The best way that a budget pays for: all subsets if there are few, with at least ten background rows.

    Args:
        columns: at least 1.
        background_rows: at least 1.
        budget: rows that the model may be called with for one explained row.

    Raises:
        InvalidError: it does not pay for one permutation over one background row.
    """
    subsets, each = 2**columns - 1, 2 * columns - 1  # without the row itself, which needs no background
    if columns <= MOST_EXACT and (kept := min(background_rows, (budget - 1) // subsets)) >= min(10, background_rows):
        return Plan(0, kept, subsets * kept + 1)
    kept = min(background_rows, (budget - 1) // each)
    if kept < 1:
        raise InvalidError(
            f"explain.budget is {budget}; {columns} columns need at least {each + 1}, and {100 * each + 1} for a "
            "background of 100 rows", field="explain.budget", value=budget,
        )  # fmt: skip
    pairs = max(1, min(MOST_PAIRS, ((budget - 1) // kept - 1) // max(1, 2 * (columns - 1))))
    return Plan(pairs, kept, (1 + pairs * 2 * (columns - 1)) * kept + 1)


def sampled_attributions(
    rows: pl.DataFrame, background: pl.DataFrame, model: Model, *, budget: int, seed: int, raw: Floats | None = None
) -> Attributions:
    """Attribute every output of a model to the columns of rows, by calling it with mixed rows.

    Args:
        rows: n rows of typed columns; null is missing, and stays so.
        background: at least one row of the same columns; as many as the budget pays for are used, the first ones.
        model: m rows of these columns -> raw outputs, shape (m, outputs).
        budget: rows that the model may be called with for one explained row, besides the row itself.
        raw: the model's raw output for the rows, where it was asked already, shape (n, outputs).
        seed: of the permutations; the same seed, row and background give the same values, whatever rows are beside it.

    Raises:
        NoBackgroundError: there is no background row.
        InvalidError: the budget is too small.

    Source: Shapley (1953); permutations: Castro, Gomez and Tejada (2009), with reverses as in shap.
    """
    if not background.height:
        raise NoBackgroundError(
            "there is no background row to compare with; wait for events, or name a dataset", field="explain.background"
        )
    plan = plan_of(rows.width, background.height, budget)
    used = background.head(plan.background_rows).select(rows.columns)
    table, codes = _coded(pl.concat([rows, used], how="vertical_relaxed"))

    def outputs(at: Ints) -> Floats:
        named = zip(rows.columns, table, at.T, strict=True)
        return np.asarray(model(pl.DataFrame([t.gather(places).alias(n) for n, t, places in named])), dtype=np.float64)

    raw = np.asarray(model(rows), dtype=np.float64) if raw is None else raw
    walks = [np.argsort(order) for order in _orders(rows.width, plan.pairs, seed)]
    found = [_row(outputs, row, codes[rows.height :], walks) for row in codes[: rows.height]]
    values, base = (np.stack(part) for part in zip(*found, strict=True))
    return Attributions(
        values, base, raw, PERMUTED if plan.pairs else EXACT, used.height, rows.height * (plan.evals + 1)
    )


def _coded(frame: pl.DataFrame) -> tuple[list[pl.Series], Ints]:
    """The distinct values of each column, and each row as their places, shape (rows, columns)."""
    table, codes = [], []
    for series in frame.iter_columns():
        distinct = series.unique(maintain_order=True)
        place = pl.DataFrame([distinct.alias("value"), pl.Series("at", np.arange(len(distinct)))])
        at = series.alias("value").to_frame().join(place, on="value", how="left", nulls_equal=True,
                                                   maintain_order="left")["at"]  # fmt: skip
        table.append(distinct)
        codes.append(at.to_numpy())
    return table, np.stack(codes, axis=1)


def _orders(columns: int, pairs: int, seed: int) -> Iterator[Ints]:
    generator = np.random.default_rng(seed)
    for _ in range(pairs):
        order = generator.permutation(columns)
        yield order
        yield order[::-1]


def _row(outputs: Callable[[Ints], Floats], row: Ints, background: Ints, walks: list[Ints]) -> tuple[Floats, Floats]:
    """Values of shape (columns, outputs), and base of shape (outputs,). `walks`: by column, when it joins."""
    columns = len(row)
    if walks:
        # In step s of a walk the columns that joined before s are there; steps 0 and `columns` are the same in all.
        steps = np.arange(1, columns)[:, None]
        masks = np.concatenate([np.zeros((1, columns), dtype=np.bool_), *(walk < steps for walk in walks)])
    else:
        masks = (np.arange(2**columns - 1)[:, None] >> np.arange(columns)) & 1 == 1
    means = _means(outputs, row, background, masks)
    whole = outputs(row[None, :])
    if not walks:
        return _all_subsets(np.concatenate([means, whole]), columns), means[0]
    values = np.zeros((columns, means.shape[1]))
    for at, walk in enumerate(walks):
        inner = means[1 + at * (columns - 1) : 1 + (at + 1) * (columns - 1)]
        path = np.concatenate([means[:1], inner, whole])
        for step, (before, after) in enumerate(pairwise(path)):
            values[np.flatnonzero(walk == step)] += after - before
    return values / len(walks), means[0]


def _means(outputs: Callable[[Ints], Floats], row: Ints, background: Ints, masks: Flags) -> Floats:
    """Mean output over the background of each subset of columns that is kept, shape (subsets, outputs)."""
    at_a_time = max(1, CALL_ROWS // len(background))
    found = []
    for begin in range(0, len(masks), at_a_time):
        part = masks[begin : begin + at_a_time, None, :]
        mixed = np.where(part, row, background[None, :, :]).reshape(-1, len(row))
        found.append(outputs(mixed).reshape(part.shape[0], len(background), -1).mean(axis=1))
    return np.concatenate(found)


def _all_subsets(worth: Floats, columns: int) -> Floats:
    """Shapley values from the worth of every subset, which has the bits of its place, shape (2^columns, outputs)."""
    places = np.arange(2**columns)
    sizes = ((places[:, None] >> np.arange(columns)) & 1).sum(axis=1)
    weight = np.array([factorial(s) * factorial(columns - s - 1) / factorial(columns) for s in range(columns)])
    values = []
    for column in range(columns):
        without = places[(places >> column) & 1 == 0]
        gained = worth[without | 1 << column] - worth[without]
        values.append((weight[sizes[without]][:, None] * gained).sum(axis=0))
    return np.stack(values)
