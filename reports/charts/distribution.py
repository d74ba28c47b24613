"""Reference and window as two distributions on the same bins."""

import json
import math
from typing import Any

from reports.charts.layers import chart_of, layered, specification, unchecked
from reports.charts.palette import MUTED, SERIES
from reports.charts.records import Distribution, Theme, Vega


def distribution_spec(chart: Distribution, *, width: int, theme: Theme) -> Vega:
    """The Vega-Lite specification of a distribution."""
    with unchecked():
        return specification((_outlines if chart.kind == "number" else _dots)(chart, width), theme)


def _outlines(chart: Distribution, width: int) -> Any:
    step = math.ceil(len(chart.bins) * 44 / (width - 70))  # room for one label
    shown = range(0, len(chart.bins), step)
    names = "[" + ",".join(json.dumps(b) for b in chart.bins) + "][datum.value]"
    x = {
        "field": "bin", "type": "quantitative", "scale": {"domain": [-0.5, len(chart.bins) - 0.5], "nice": False},
        "axis": {"title": chart.unit or None, "values": list(shown), "labelExpr": names, "grid": False},
    }  # fmt: skip
    y = {
        "field": "share",
        "type": "quantitative",
        "axis": {"title": "share of rows", "tickCount": 4, "domain": False, "ticks": False},
    }
    sides = ((chart.reference, MUTED, [4, 3]), (chart.window, SERIES, [1, 0]))
    charts = [
        chart_of(
            [{"bin": i, "share": share} for i, share in enumerate(shares)],
            "line", {"interpolate": "step", "color": colour, "strokeDash": dash, "strokeWidth": 1.8}, x=x, y=y,
        )
        for shares, colour, dash in sides
    ]  # fmt: skip
    return layered(charts, width=width - 70, height=150, title=_key(chart))


def _dots(chart: Distribution, width: int) -> Any:
    order = sorted(range(len(chart.bins)), key=lambda i: -abs(chart.window[i] - chart.reference[i]))[:12]
    rows = [{"bin": chart.bins[i][:40], "reference": chart.reference[i], "window": chart.window[i]} for i in order]
    y = {
        "field": "bin", "type": "nominal", "sort": [r["bin"] for r in rows],
        "axis": {"title": None, "domain": False, "ticks": False, "grid": True, "labelLimit": 180},
    }  # fmt: skip
    axis = {"title": "share of rows", "tickCount": 5, "domain": False, "ticks": False}

    def x(field: str) -> Vega:
        return {"field": field, "type": "quantitative", "scale": {"zero": True}, "axis": axis}

    dot = {"shape": "circle", "size": 60, "opacity": 1}
    charts = [
        chart_of(rows, "rule", {"color": MUTED, "strokeWidth": 1}, x=x("reference"), x2={"field": "window"}, y=y),
        chart_of(rows, "point", {**dot, "filled": False, "color": MUTED}, x=x("reference"), y=y),
        chart_of(rows, "point", {**dot, "filled": True, "color": SERIES}, x=x("window"), y=y),
    ]
    return layered(charts, width=width - 200, height=22 * len(rows), title=_key(chart))


def _key(chart: Distribution) -> Vega:
    marks = ("dashed", "solid") if chart.kind == "number" else ("hollow", "filled")
    text = f"{marks[0]}: reference, n = {chart.n_reference:,}; {marks[1]}: window, n = {chart.n_window:,}"
    return {
        "text": chart.title, "subtitle": text, "anchor": "start", "frame": "group", "fontSize": 12,
        "subtitleFontSize": 11,
    }  # fmt: skip
