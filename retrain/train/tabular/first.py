"""The first champion of a tabular model: trained from labelled rows that a person has, before anything was observed."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import ConflictError
from monitor.levels import answers
from retrain.train.errors import DataError
from retrain.train.kinds import classifies
from retrain.train.tabular.recipe import TableColumn, TableRecipe
from retrain.train.tabular.rows import held, typed
from retrain.train.tabular.training import train_table


class FolderTakenError(ConflictError):
    code = "folder_taken"


def first_model(
    recipe: TableRecipe, columns: Sequence[TableColumn], target: str, rows: pl.DataFrame, folder: Path, *,
    threads: int, boolean: bool = False,
) -> Mapping[str, Any]:  # fmt: skip
    """Train on every row that has an outcome, and write the folder that `base_model` names.

    Args:
        target: the column that is learned.
        rows: with the columns and the target, under the names of the spec.
        boolean: whether the target is declared so; its labels are then true and false, however the rows write them.

    Returns:
        Rows and fitted numbers.

    Raises:
        FolderTakenError: the folder exists; a champion is never overwritten.
        DataError: a column is missing or of another type, the target too, or fewer than two labels are there.
    """
    if folder.exists():
        raise FolderTakenError(f"{folder} exists; give a folder that does not, or move it away", field="folder")
    if target not in rows.columns:
        raise DataError(f"rows: column {target!r} is missing, which the recipe learns", field=target)
    own = classifies(recipe.task)
    truth = answers(rows[target], truth=boolean) if own else held(rows[target])
    kept = truth.is_not_null()
    labels = tuple(sorted(truth.filter(kept).unique())) if own else ()
    if boolean and (others := sorted({*labels} - {"true", "false"})):
        words = f"rows: {target} is declared as boolean and holds {others[0]!r}; write true and false, or 1 and 0"
        raise DataError(words, field=target)
    if own and len(labels) < 2:
        raise DataError(f"rows: {target} has {len(labels)} labels, at least 2 are needed", field=target)
    if not kept.any():
        words = (
            f"rows: {target} holds no number in any of {rows.height} rows, so there is nothing to learn; give outcomes"
        )
        raise DataError(words, field=target)
    frame = typed(rows.filter(kept), columns)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    made = train_table(
        recipe, columns, labels, frame, truth.filter(kept), partial, threads=threads, tick=lambda _step, _steps: None
    )
    partial.rename(folder)
    return {"rows": frame.height, "rows_left_out": rows.height - frame.height, **made.facts}
