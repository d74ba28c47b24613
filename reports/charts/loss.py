"""The loss curve of a training run."""

import math
from collections.abc import Sequence

from reports.charts.layers import chart_of, layered, specification
from reports.charts.palette import SERIES
from reports.charts.records import Theme, Vega


def loss_spec(losses: Sequence[float], *, width: int, theme: Theme) -> Vega:
    """The Vega-Lite specification of a loss curve."""
    size = max(1, math.ceil(len(losses) / 120))
    parts = [losses[i : i + size] for i in range(0, len(losses), size)]
    rows = [{"step": min((i + 1) * size, len(losses)), "loss": sum(p) / len(p)} for i, p in enumerate(parts)]
    axis = {"domain": False, "ticks": False, "tickCount": 4}
    title_text = "loss" if size == 1 else f"loss, mean of {size} steps"
    x = {"field": "step", "type": "quantitative", "axis": {**axis, "title": "step", "grid": False, "format": ",d"},
         "scale": {"domain": [0, len(losses)], "nice": False}}  # fmt: skip
    y = {"field": "loss", "type": "quantitative", "axis": {**axis, "title": None}, "scale": {"zero": True}}
    title = {"text": title_text, "anchor": "start", "frame": "group", "fontSize": 12}
    drawn = chart_of(rows, "line", {"color": SERIES, "strokeWidth": 1.6}, x=x, y=y)
    return specification(layered([drawn], width=width - 60, height=80, title=title), theme)
