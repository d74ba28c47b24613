"""What is told beside the reasons of an adverse decision: what a person could change, and whether the reasons hold."""

from typing import Any

import numpy as np
import polars as pl

from core.errors import AppError, BusyError, InvalidError
from monitor.spec.reasons import AdverseNumber, Reasons, never_told
from retrain.reasons.ask import Asking
from retrain.reasons.block import AdverseOutput, Block
from retrain.reasons.population import population_frame


def probed(asking: Asking, reasons: Reasons, row: pl.DataFrame, block: Block, adverse: AdverseOutput) -> dict[str, Any]:
    """`counterfactuals` within the mutable columns, and `stability` under small changes; each with its own reason."""
    spec = asking.current.spec
    try:
        observed = population_frame(asking.site, asking.current, None)[0]
    except InvalidError as error:  # the reference is still arriving
        return {"counterfactuals": {"found": [], "why": error.message}, "stability": None}
    numbers = [n for n in block.columns if spec.columns[n].type == "number" and n not in never_told(spec)]
    limits = reasons.adverse
    number = isinstance(limits, AdverseNumber)
    probes: dict[str, Any] = {
        "adverse": {"below": limits.below, "above": limits.above} if number else {"answer": limits},  # type: ignore[union-attr]
        "spread": {name: _spread(observed[name]) for name in numbers if name in observed.columns},
        "place": adverse.place,
    }
    mutable = {name: way for name, way in reasons.mutable.items() if name in block.columns}
    if mutable:
        probes["changes"] = {"mutable": mutable, "budget": reasons.budget}
    try:
        found = asking.probed(row, probes, observed.select(c for c in block.columns) if mutable else None)
    except BusyError:
        raise
    except AppError as error:  # the reasons stand without it
        return {"counterfactuals": {"found": [], "why": error.message}, "stability": None}
    nothing = {"found": [], "why": "the spec declares no column as mutable"}
    return {"counterfactuals": found.get("counterfactuals", nothing), "stability": found.get("stability")}


def _spread(values: pl.Series) -> float:
    """The standard deviation of a column's finite numbers; 0 where there are none."""
    found = values.drop_nulls().cast(pl.Float64).to_numpy()
    found = found[np.isfinite(found)]
    return float(found.std()) if len(found) else 0.0
