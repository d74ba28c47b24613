"""Fairness in the training of a text classifier: swapped texts beside the rows, and rows that weigh otherwise."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from monitor.fairness.causes.swap import Swap
from retrain.train.mitigation.keys import Mitigation
from retrain.train.mitigation.weights import drawn_rows, groups_of, independent_weights

Example = dict[str, Any]


def with_swapped(mitigation: Mitigation | None, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, and after them each text that has a declared term with its terms swapped, under the same label.

    Source: Zhao et al. (2018), NAACL, counterfactual data augmentation; Lu et al. (2020).
    """
    if mitigation is None or mitigation.method != "counterfactual_augmentation":
        return rows
    swap = Swap.of(mitigation.pairs)
    swapped = pl.Series("text", [swap(text) for text in rows["text"]], dtype=pl.String)
    return pl.concat([rows, rows.with_columns(swapped).filter(swapped.is_not_null())])


def weighed(
    mitigation: Mitigation | None, rows: pl.DataFrame, examples: Sequence[Example], seed: int
) -> tuple[list[Example], dict[str, Any]]:
    """Examples as a mitigation wants them trained on, and facts for the record.

    Args:
        rows: the rows that the examples are made of, with the protected columns; `row` of an example is its place.

    Returns:
        Examples, repeated and left out by `resample`; with a `weight` each by `reweigh`.
    """
    if mitigation is None or not mitigation.weighs:
        return list(examples), {}
    weights = independent_weights(groups_of(rows, mitigation.by), rows["label"], mitigation.strength)
    at = [example["row"] for example in examples]
    if mitigation.method == "resample":
        drawn = drawn_rows(weights[at], seed)
        return [dict(examples[i]) for i in drawn], {"rows_drawn": len(drawn)}
    facts = {"weights": {"least": float(weights[at].min()), "most": float(weights[at].max())}}
    return [{**example, "weight": float(weights[i])} for example, i in zip(examples, at, strict=True)], facts


def as_cells(examples: Sequence[Example], watched: Sequence[Example]) -> tuple[list[Example], list[Example], list[Any]]:
    """Examples whose label stands for a label and a weight, for batches have no other place for a weight.

    Returns:
        Both kinds of examples, and the (label, weight) of each number that stands in place of a label.
    """
    cells = sorted({(row["label"], row["weight"]) for row in (*examples, *watched)})
    place: Mapping[Any, int] = {cell: i for i, cell in enumerate(cells)}
    marked = [[{**row, "label": place[row["label"], row["weight"]]} for row in part] for part in (examples, watched)]
    return marked[0], marked[1], cells
