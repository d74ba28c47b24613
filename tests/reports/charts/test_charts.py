"""Charts: what is drawn, on which axis, in which colours. Pictures are read as XML, never compared with stored ones."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reports.charts.loss import loss_spec
from reports.charts.palette import COLOURS
from reports.charts.records import Panel, Point, Rule, Tick, Timeline
from reports.charts.svg import loss_svg, timeline_svg
from reports.charts.text import number
from reports.charts.timeline import timeline_spec

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(hours=12)


def points(values: list[float | None], limit: float = 0.85) -> tuple[Point, ...]:
    return tuple(
        Point(
            START + i * STEP, START + (i + 1) * STEP, v, None if v is None else v - 0.03,
            None if v is None else v + 0.03,
            limit, 180, "unknown" if v is None else "alarm" if v < limit else "ok",
        )
        for i, v in enumerate(values)
    )  # fmt: skip


KPI = Panel("accuracy, realised", "line", "share", points([0.91, 0.92, 0.78, None, 0.9]), "min", 1.0)
DRIFT = Panel("drift p value, log scale", "p", "p", points([0.5, 0.2, 0.001, None, 0.7], 0.01), "alpha")
VOLUME = Panel("rows per hour", "bars", "rows/h", points([400.0, 380.0, 410.0, 395.0, 0.0]))
TIMELINE = Timeline(
    START, START + 5 * STEP, (KPI, DRIFT, VOLUME),
    (Rule(START + STEP, "reference complete", "baseline"), Rule(START + 4 * STEP, "v2 promoted")),
    (Tick(START + 3 * STEP, "alert opened", "drift"), Tick(START + 3 * STEP, "retrain not decided", "window")),
)  # fmt: skip


def words(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def marks(svg: str, kind: str) -> list[Any]:
    """Items of every mark group whose class names a kind, such as mark-symbol."""
    groups = [g for g in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g") if kind in (g.get("class") or "")]
    return [item for group in groups for item in group]


@pytest.mark.parametrize("width", [960, 358])
def test_every_panel_is_drawn_with_its_words_inside_the_width(width: int) -> None:
    svg = timeline_svg(TIMELINE, width=width)
    assert {
        "accuracy, realised",
        "rows per hour",
        "min 0.85",
        "alpha 0.01",
        "v2 promoted",
        "reference complete",
    } <= set(words(svg))
    assert {"alerts", "decisions"} <= set(words(svg))
    assert float(ET.fromstring(svg).get("width", "0")) == pytest.approx(width, abs=14)


def test_all_panels_share_one_time_axis_and_only_the_last_names_it() -> None:
    spec = timeline_spec(TIMELINE, width=960, theme="page")
    axes = [
        e["x"]
        for panel in spec["vconcat"]
        for e in (c["encoding"] for c in panel["layer"])
        if "scale" in e.get("x", {})
    ]
    assert {tuple(x["scale"]["domain"]) for x in axes} == {(1772323200000, 1772539200000)}
    assert {x["scale"]["type"] for x in axes} == {"utc"}
    labelled = [
        any(c["encoding"]["x"].get("axis", {}).get("labels") for c in panel["layer"]) for panel in spec["vconcat"]
    ]
    assert labelled == [False, False, False, True]


def test_status_is_told_by_shape_too_and_what_was_not_measured_is_marked() -> None:
    spec = timeline_spec(TIMELINE, width=960, theme="print")
    layers = spec["vconcat"][1]["layer"]
    shapes = {c["mark"]["shape"]: len(c["data"]["values"]) for c in layers if "shape" in c["mark"]}
    assert shapes == {"circle": 3, "triangle-up": 1, "cross": 1}


def test_one_picture_serves_both_themes_and_print_has_its_colours_written_out() -> None:
    page, print_ = timeline_svg(TIMELINE, theme="page"), timeline_svg(TIMELINE, theme="print")
    assert "var(--chart-series,#0072b2)" in page
    assert "var(" not in print_
    bare = page
    for name, colour in COLOURS.items():
        bare = bare.replace(f"var({name},{colour})", "")
    assert not any(colour in bare for colour in COLOURS.values())
    assert "style=" not in page  # a strict content security policy refuses it
    assert "<script" not in page


def test_equal_input_gives_equal_bytes() -> None:
    first = timeline_svg(TIMELINE, width=500)
    timeline_svg.cache_clear()
    assert timeline_svg(TIMELINE, width=500) == first


def test_text_of_users_is_escaped() -> None:
    svg = timeline_svg(replace(TIMELINE, rules=(Rule(START + STEP, "<script>alert(1)</script>"),)))
    assert "<script" not in svg
    assert "<script>alert(1)</script>" in words(svg)


def test_an_empty_timeline_and_a_single_window_are_drawn() -> None:
    assert timeline_svg(Timeline(START, START, ()))
    assert timeline_svg(Timeline(START, START + STEP, (replace(KPI, points=points([None])),)))
    assert timeline_svg(Timeline(START, START + STEP, (replace(KPI, points=points([0.9])),)))


@pytest.mark.parametrize("theme", ["page", "print"])
def test_the_specifications_fit_the_published_schema(theme: Any) -> None:
    import altair as alt

    for spec in (timeline_spec(TIMELINE, width=960, theme=theme), loss_spec((3.0, 2.0), width=480, theme=theme)):
        alt.Chart.from_dict(spec, validate=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.9114, "0.911"), (-0.5, "-0.500"), (12345.6, "12,346"), (0.0, "0.000"), (2e-6, "2.0e-06")],
)
def test_numbers_have_equal_decimals(value: float | None, text: str) -> None:
    assert number(value) == text


def test_no_line_is_drawn_across_time_without_windows() -> None:
    first, last = points([0.9, 0.91]), points([0.9, 0.91, 0.92, 0.9, 0.91])[3:]
    gap = replace(TIMELINE, panels=(replace(KPI, points=(*first, *last)),))
    whole = replace(TIMELINE, panels=(replace(KPI, points=points([0.9, 0.91, 0.92, 0.9, 0.91])),))
    paths = [
        sum((p.get("d") or "").count("M") for p in marks(timeline_svg(t, width=700), "mark-line")) for t in (whole, gap)
    ]
    assert paths == [1, 2]


def test_a_panel_without_a_value_says_so_and_takes_little_room() -> None:
    blank = replace(TIMELINE, panels=(replace(KPI, points=points([None, None])),))
    assert "accuracy, realised (not measured)" in words(timeline_svg(blank, width=700))


def test_a_long_loss_curve_stays_small() -> None:
    curve = tuple(3 / (1 + i) for i in range(50_000))
    assert len(loss_svg(curve)) < 30_000
    assert "loss, mean of 417 steps" in words(loss_svg(curve))
    assert "loss" in words(loss_svg((0.5, 0.4, 0.3)))
    assert len(loss_spec(curve, width=480, theme="print")["layer"][0]["data"]["values"]) <= 120


def test_a_p_value_below_the_axis_sits_on_its_edge_and_does_not_stretch_the_figure() -> None:
    def drawn(value: float) -> str:
        at = tuple(
            Point(START + i * STEP, START + (i + 1) * STEP, v, limit=0.01, status="alarm" if v < 0.01 else "ok")
            for i, v in enumerate([0.5, value, 0.0])
        )
        return timeline_svg(Timeline(START, START + 3 * STEP, (Panel("p value", "p", "p", at, "alpha"),)), width=960)

    svg = drawn(1e-103)
    assert float(ET.fromstring(svg).get("height", "0")) < 200
    assert "1e-103, below the axis" in svg
    assert "p value (on the lower edge: below 1e-09)" in words(svg)


def test_a_panel_of_ten_thousand_windows_shows_its_extremes_and_its_one_alarm_and_stays_small() -> None:
    values: list[float | None] = [0.9 + 0.01 * (i % 7) for i in range(10_000)]
    values[4321], values[7000] = 0.2, None
    long = points(values)
    end, ticks = long[-1].at, tuple(Tick(p.at, "alert opened", "kpi accuracy") for p in long)
    rules = tuple(Rule(p.at, f"v{i} deployed") for i, p in enumerate(long[::10]))
    bars = Panel("rows per hour", "bars", "rows/h", tuple(replace(p, value=i % 300) for i, p in enumerate(long)))
    svg = timeline_svg(Timeline(START, end, (replace(KPI, points=long), bars), rules, ticks), width=720, theme="print")
    assert len(svg) < 700_000
    assert "accuracy, realised (the extremes of 10,000 windows)" in words(svg)
    assert svg.count('aria-label="0.2"') == 1
    assert sum((p.get("d") or "").count("M") for p in marks(svg, "mark-line")) == 2  # broken at the unmeasured only
    assert "alert opened: kpi accuracy, and 46 more" in svg
    assert "v999 deployed" in words(svg)
    assert sum(w.endswith("deployed") for w in words(svg)) == 12
