"""`assay first-model`: train the first champion of a tabular model, before its spec is applied."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.commands.output import JsonFlag, console, emit_json
from core.errors import InvalidError
from monitor.spec.parse import load_spec

if TYPE_CHECKING:
    import polars as pl


def first_model(
    spec: Annotated[Path, typer.Argument(help="the spec, with a recipe of task tabular_...", exists=True)],
    rows: Annotated[Path, typer.Argument(help="labelled rows, Parquet or CSV, under the spec's column names")],
    folder: Annotated[Path | None, typer.Option(help="where to write; by default base_model of the recipe")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train the first champion of a tabular model from labelled rows, on this machine.

    A relative base_model starts at the home folder (ASSAY_HOME), as it does for the service.
    """
    from core.settings import load
    from retrain.envelope import Plan
    from retrain.learned import learned_column, table_columns
    from retrain.train.config import place_of
    from retrain.train.tabular import first
    from retrain.train.tabular.recipe import TableRecipe

    parsed, settings = load_spec(spec.read_bytes()), load()
    recipe = Plan.of(parsed).recipe
    if not isinstance(recipe, TableRecipe):
        raise InvalidError(
            f"spec: the recipe's task is {recipe.task}, and a first model is made for tabular_classification and "
            "tabular_regression", field="retrain.recipe.task",
        )  # fmt: skip
    out = place_of(recipe.base_model, settings.home_dir) if folder is None else folder
    out.parent.mkdir(parents=True, exist_ok=True)
    target = learned_column(parsed, recipe.task)
    facts = first.first_model(
        recipe, table_columns(parsed), target, _read(rows), out, threads=settings.train.threads,
        boolean=parsed.columns[target].type == "boolean",
    )  # fmt: skip
    if as_json:
        emit_json({"folder": str(out), **facts})
        return
    left = f", {facts['rows_left_out']} without outcome left out" if facts["rows_left_out"] else ""
    made = f"{recipe.estimator} of {len(parsed.with_role('input'))} columns from {facts['rows']} rows{left}: {out}"
    console.print(made, markup=False, soft_wrap=True)


def _read(rows: Path) -> "pl.DataFrame":
    import polars as pl

    try:
        return pl.read_csv(rows, infer_schema_length=None) if rows.suffix == ".csv" else pl.read_parquet(rows)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidError(f"rows: {rows} is no Parquet file or CSV ({error}); give one", field="rows") from error
