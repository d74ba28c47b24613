"""`python -m retrain.evals.probe_rows CONFIG.json`: what else a model is asked beside attributions, in its own process.

Counterfactuals and stability of one row, interactions of several. Writes `probes.json` and, however it ends,
`exit.json` into `output_dir`.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from pydantic import Field

from core.arrays import Floats
from core.errors import AppError, InvalidError
from monitor.levels import answer
from monitor.reasons.counterfactuals import counterfactuals
from monitor.reasons.over_time import top_interactions
from monitor.reasons.stability import agreement, jittered
from retrain.evals.explain_rows import RowsConfig, served_of
from retrain.evals.served.attribute import Attributing
from retrain.evals.served.base import Served
from retrain.train.config import Frozen
from retrain.train.config_file import load_config
from retrain.train.progress import report_exit, write_json
from retrain.train.tabular.rows import typed

REPEATS: Final = 20  # slightly changed inputs of one row
INTERACTING_ROWS: Final = 50
INTERACTING_COLUMNS: Final = 100
OBSERVED: Final = "observed.parquet"  # in the folder of the process
CLOSE: Final = 1e-12  # a score that is adverse by a tie


class AdverseAnswer(Frozen):
    """A class, or numbers below or above a limit."""

    answer: str | None = None
    below: float | None = None
    above: float | None = None


class Changes(Frozen):
    """What a person can change; the rows whose values are proposed lie in OBSERVED."""

    mutable: Mapping[str, Literal["up", "down", "any"]]
    budget: int = Field(ge=1)
    most: int = 3


class ProbeConfig(RowsConfig):
    """`changes`: counterfactuals of the only row; `spread`: by column, for its stability."""

    adverse: AdverseAnswer | None = None
    changes: Changes | None = None
    spread: Mapping[str, float] | None = None
    place: int = 0  # the explained output
    interactions: bool = False


def probe_rows(path: Path) -> None:
    config = load_config(path, ProbeConfig)
    rows = pl.read_parquet(config.rows)
    served = served_of(config, rows)
    frame = typed(rows, served.columns)
    found: dict[str, Any] = {}
    if config.changes is not None and config.adverse is not None:
        found["counterfactuals"] = _changes(config, config.changes, served, frame, config.adverse)
    if config.spread is not None:
        found["stability"] = _stability(config, served, frame, config.spread)
    if config.interactions:
        found["interactions"] = _interactions(served, frame)
    write_json(config.output_dir / "probes.json", found)


def adversity_of(
    served: Served, adverse: AdverseAnswer, *, boolean: bool, threshold: float | None
) -> Callable[[pl.DataFrame], Floats]:
    """How adverse a model's answers to typed rows are: above 0 where they are adverse, shape (rows,).

    Raises:
        InvalidError: the class is none of the model's.
    """
    if adverse.answer is None:
        return lambda frame: _beyond(_scores(served, frame)[:, 0], adverse)
    wanted = answer(adverse.answer, truth=boolean)
    classes = [answer(one, truth=boolean) for one in served.classes]
    if wanted not in classes:
        raise InvalidError(f"{adverse.answer!r} is none of the model's classes", field="reasons.adverse")
    place = classes.index(wanted)

    def found(frame: pl.DataFrame) -> Floats:
        scores = _scores(served, frame)
        if threshold is not None and len(classes) == 2:
            second = scores[:, 1] >= threshold
            far = (scores[:, 1] - threshold) * (1 if place == 1 else -1)
            is_adverse = second if place == 1 else ~second
        else:
            far = scores[:, place] - np.delete(scores, place, axis=1).max(axis=1)
            is_adverse = scores.argmax(axis=1) == place
        return np.asarray(np.where(is_adverse, np.maximum(far, CLOSE), np.minimum(far, 0.0)))

    return found


def _scores(served: Served, frame: pl.DataFrame) -> Floats:
    encoded = served.encode(frame)
    return served.scores(encoded, served.raw(encoded))


def _beyond(numbers: Floats, adverse: AdverseAnswer) -> Floats:
    if adverse.below is not None:
        return np.asarray(adverse.below - numbers)
    return np.asarray(numbers - (adverse.above or 0.0))


def _changes(
    config: ProbeConfig, changes: Changes, served: Served, frame: pl.DataFrame, adverse: AdverseAnswer
) -> dict[str, Any]:
    """Counterfactuals of the row; an error of the model is told in their place."""
    score = adversity_of(served, adverse, boolean=config.declared.boolean, threshold=config.threshold)
    observed = typed(pl.read_parquet(config.output_dir / OBSERVED), served.columns)

    def asked(rows: Sequence[Mapping[str, Any]]) -> list[float]:
        return [float(one) for one in score(pl.DataFrame(list(rows), schema=frame.schema))]

    try:
        found = counterfactuals(
            frame.row(0, named=True), changes.mutable, {name: observed[name].to_list() for name in changes.mutable},
            asked, most=changes.most, budget=changes.budget, seed=config.seed,
        )  # fmt: skip
    except AppError as error:
        return {"found": [], "why": error.message, "evals": 0, "budget": changes.budget, "seed": config.seed}
    return asdict(found)


def _stability(
    config: ProbeConfig, served: Served, frame: pl.DataFrame, spread: Mapping[str, float]
) -> dict[str, Any] | None:
    """Agreement with slightly changed inputs; None where no number can be moved."""
    moving = {name: one for name, one in spread.items() if one > 0 and frame[name].dtype.is_numeric()}
    if not moving:
        return None
    changed = pl.DataFrame(jittered(frame.row(0, named=True), moving, REPEATS, config.seed), schema=frame.schema)
    background = typed(pl.read_parquet(config.background), served.columns)
    attributing = Attributing(served, background, config.interventional, config.budget, config.seed)
    found, scores = attributing.attributions(pl.concat([frame, changed]))
    values = found.values[:, :, config.place]
    own = scores.argmax(axis=1) if served.classes else None
    turned = 0 if own is None else int((own[1:] != own[0]).sum())
    return asdict(agreement(values[0], values[1:], turned))


def _interactions(served: Served, frame: pl.DataFrame) -> dict[str, Any]:
    """The pairs of columns that count most together; for trees that shap reads."""
    names = [column.name for column in served.columns]
    if served.trees is None:
        return {"pairs": [], "why": "interaction values are computed for ensembles of trees only"}
    if len(names) > INTERACTING_COLUMNS:
        return {"pairs": [], "why": f"the model reads more than {INTERACTING_COLUMNS} columns"}
    rows = served.tree_rows(served.encode(frame.head(INTERACTING_ROWS)))
    try:
        values = _together(served, rows)
        pairs = top_interactions(values, names)
    except Exception as error:  # noqa: BLE001 - shap says in as many ways as there are libraries that it cannot
        said = (str(error).splitlines() or [""])[0][:200]
        return {"pairs": [], "why": f"shap gives no interaction values for these trees ({said})"}
    return {"pairs": [asdict(pair) for pair in pairs], "why": None, "rows": min(frame.height, INTERACTING_ROWS)}


def _together(served: Served, rows: Any) -> Floats:
    """|interaction values| added over outputs and over the features of each column, shape (rows, columns, columns)."""
    import shap

    found = shap.TreeExplainer(served.trees).shap_interaction_values(rows)
    values = np.stack(found, axis=-1) if isinstance(found, list) else np.asarray(found, dtype=np.float64)
    values = values[..., None] if values.ndim == 3 else values
    if served.members is None:
        size = len(served.columns)
        return np.asarray(np.abs(values[:, :size, :size, :]).sum(axis=3))  # catboost adds a base value at the end
    first = np.stack([values[:, list(places)].sum(axis=1) for places in served.members], axis=1)
    both = np.stack([first[:, :, list(places)].sum(axis=2) for places in served.members], axis=2)
    return np.asarray(np.abs(both).sum(axis=3))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.evals.probe_rows CONFIG.json")
    sys.exit(report_exit(Path(sys.argv[1]), probe_rows))
