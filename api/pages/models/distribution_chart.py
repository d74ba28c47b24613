"""Reference against window, as a Vega-Lite specification: two outlines on the same bins, or dots sorted by change."""

import json
from typing import Any, Final

from reports.charts.records import DataTable, Distribution

Vega = dict[str, Any]
_SERIES, _MUTED = "var(--chart-series)", "var(--chart-muted)"
MOST_LEVELS: Final = 15


def distribution_chart(d: Distribution) -> Vega:
    return _outlines(d) if d.kind == "number" else _dots(d)


def height_of(d: Distribution) -> int:
    """One of the heights that a page reserves."""
    return 240 if d.kind == "number" else next(h for h in (160, 240, 320, 400, 480) if h >= 22 * len(_order(d)) + 70)


def distribution_words(d: Distribution) -> str:
    """The chart in words: what rose and what fell most."""
    changes = sorted(zip(d.bins, d.reference, d.window, strict=True), key=lambda one: -abs(one[2] - one[1]))
    bin_, before, after = changes[0]
    where = f"from {bin_} on" if d.kind == "number" else f"{bin_}"
    return (
        f"{d.title}, reference ({d.n_reference:,} rows) against window ({d.n_window:,} rows); the largest difference "
        f"is {where}: {100 * before:.1f} % in the reference, {100 * after:.1f} % in the window"
    )


def distribution_rows(d: Distribution) -> DataTable:
    """The figures behind the chart, in its order."""
    order = range(len(d.bins)) if d.kind == "number" else _order(d, most=len(d.bins))
    rows = tuple(
        (d.bins[i], f"{100 * d.reference[i]:.2f}", f"{100 * d.window[i]:.2f}",
         f"{100 * (d.window[i] - d.reference[i]):+.2f}")
        for i in order
    )  # fmt: skip
    first = "from" if d.kind == "number" else "value"
    return DataTable((first, "reference, %", "window, %", "difference, points"), rows)


def _order(d: Distribution, most: int = MOST_LEVELS) -> list[int]:
    return sorted(range(len(d.bins)), key=lambda i: -abs(d.window[i] - d.reference[i]))[:most]


def _outlines(d: Distribution) -> Vega:
    names = "[" + ",".join(json.dumps(b) for b in d.bins) + "][datum.value]"
    axis = {"title": d.unit or None, "labelExpr": names, "grid": False, "labelOverlap": True, "tickMinStep": 1}
    x = {"field": "bin", "type": "quantitative", "axis": axis,
         "scale": {"domain": [-0.5, len(d.bins) - 0.5], "nice": False}}  # fmt: skip
    rows = [
        {"bin": i, "from": d.bins[i], "share": share, "side": side}
        for side, shares in (("reference", d.reference), ("window", d.window)) for i, share in enumerate(shares)
    ]  # fmt: skip
    scale = {"domain": ["reference", "window"]}
    return {
        "data": {"values": rows},
        "layer": [{
            "mark": {"type": "line", "interpolate": "step", "strokeWidth": 1.8},
            "encoding": {
                "x": x,
                "y": {"field": "share", "type": "quantitative",
                      "axis": {"title": "share of rows", "tickCount": 4, "format": ".0%", "domain": False}},
                "color": {"field": "side", "type": "nominal", "scale": {**scale, "range": [_MUTED, _SERIES]},
                          "legend": {"title": None}},
                "strokeDash": {"field": "side", "type": "nominal", "scale": {**scale, "range": [[4, 3], [1, 0]]}},
                "tooltip": [{"field": "side"}, {"field": "from", "title": "from"},
                            {"field": "share", "type": "quantitative", "format": ".2%"}],
            },
        }],
    }  # fmt: skip


def _dots(d: Distribution) -> Vega:
    order = _order(d)
    rows = [{"level": d.bins[i][:40], "reference": d.reference[i], "window": d.window[i]} for i in order]
    y = {"field": "level", "type": "nominal", "sort": [r["level"] for r in rows],
         "axis": {"title": None, "domain": False, "ticks": False, "grid": True, "labelLimit": 180}}  # fmt: skip
    axis = {
        "title": "share of rows; hollow: reference, filled: window",
        "tickCount": 5,
        "format": ".0%",
        "domain": False,
    }
    tooltip = [{"field": "level"}, {"field": "reference", "type": "quantitative", "format": ".2%"},
               {"field": "window", "type": "quantitative", "format": ".2%"}]  # fmt: skip

    def x(field: str) -> Vega:
        return {"field": field, "type": "quantitative", "scale": {"zero": True}, "axis": axis}

    def dots(field: str, **style: Any) -> Vega:
        mark = {"type": "point", "shape": "circle", "size": 60, "opacity": 1, **style}
        return {"mark": mark, "encoding": {"x": x(field), "y": y, "tooltip": tooltip}}

    line = {
        "mark": {"type": "rule", "color": _MUTED},
        "encoding": {"x": x("reference"), "x2": {"field": "window"}, "y": y},
    }
    return {
        "data": {"values": rows},
        "layer": [line, dots("reference", filled=False, color=_MUTED), dots("window", filled=True, color=_SERIES)],
    }
