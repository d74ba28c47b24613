"""The data behind a chart, as a table."""

from reports.charts.records import DataTable, Distribution, Timeline
from reports.charts.text import number, utc


def timeline_table(timeline: Timeline) -> DataTable:
    """Every point of every panel as text."""
    rows = [
        (
            panel.title, utc(p.start), utc(p.at), number(p.value), number(p.low), number(p.high),
            number(p.limit), "–" if p.n is None else f"{p.n:,}", "not measured" if p.value is None else p.status,
        )
        for panel in timeline.panels
        for p in panel.points
    ]  # fmt: skip
    return DataTable(("chart", "from", "to", "value", "low", "high", "limit", "n", "status"), tuple(rows))


def distribution_table(chart: Distribution) -> DataTable:
    rows = [
        (bin_, number(r), number(w), f"{w - r:+.3f}")
        for bin_, r, w in zip(chart.bins, chart.reference, chart.window, strict=True)
    ]
    return DataTable(
        ("bin" if chart.kind == "number" else "category", "reference share", "window share", "change"), tuple(rows)
    )
