"""`assay fairness MODEL`: was it fair over a period, for whom, how sure?"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from api.commands.models import ModelName, client, model_path
from api.commands.output import JsonFlag, console, emit_json
from api.commands.period import Days, End, Quarter, Start, Zone, period
from core.clock import SystemClock
from reports.facts.fairness_chart import CORE

WRONG: Final = 1  # exit code of "not fair" and "cannot say"
MOST_GROUPS: Final = 30  # in a table


def fairness(
    model: ModelName,
    start: Start = None,
    end: End = None,
    quarter: Quarter = None,
    days: Days = None,
    zone: Zone = "UTC",
    by: Annotated[str | None, typer.Option(help="protected columns, parted by commas; without it, all")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="columns in one intersection at most")] = None,
    positive: Annotated[str | None, typer.Option(help="class whose rates are compared; else the declared one")] = None,
    metric: Annotated[str | None, typer.Option(help="only this disparity")] = None,
    check: Annotated[bool, typer.Option("--check", help="exit code 1 unless the answer is fair")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Was it fair over a period, by default the last 92 days, for whom, how sure? From stored counts of windows."""
    asked: dict[str, Any] = {"by": by, "depth": depth, "positive": positive, "metric": metric}
    if start or quarter or end or days:
        begin, until = period(SystemClock().now(), start=start, end=end, quarter=quarter, days=days, zone=zone)
        asked |= {"from": begin.isoformat(), "to": until.isoformat()}
    query = {name: value for name, value in asked.items() if value is not None}
    found = client().json("GET", f"{model_path(model)}/fairness", params=query)
    if as_json:
        emit_json(found)
    else:
        _print(found)
    if check and found["answer"] != "fair":
        raise typer.Exit(WRONG)


def _print(found: Mapping[str, Any]) -> None:
    for sentence in (found["sentence"], *found["sentences"]):
        console.print(sentence.replace("`", ""), markup=False)
    _table(
        "Disparities", ("disparity", "by", "value", "low", "high", "limit", "verdict", "between"),
        (
            (
                d["metric"].replace("_", " "), d["by"], *map(_number, (d["value"], d["low"], d["high"])),
                "-" if d["limit"] is None else f"{d['limit_word']} {d['limit']:g}", d["verdict"],
                ", ".join(f"{g['group']} {_number(g['value'])} (n = {g['n']:,})" for g in d["groups"]) or "-",
            )
            for d in found["disparities"]
        ),
    )  # fmt: skip
    if found["groups"]:
        console.print("\nEvery rate: --json, or the page of the model.", markup=False)
    for named in dict.fromkeys(cell["by"] for cell in found["groups"]):
        cells = [cell for cell in found["groups"] if cell["by"] == named]
        rates = [rate["rate"] for rate in cells[0]["rates"] if rate["rate"] in CORE]
        _table(
            f"Groups by {named}", ("group", "n", "with outcome", *(rate.replace("_", " ") for rate in rates)),
            (
                (
                    cell["group"] + (" (small)" if cell["small"] else ""), f"{cell['n']:,}", f"{cell['labelled']:,}",
                    *(_rate(rate) for rate in cell["rates"] if rate["rate"] in rates),
                )
                for cell in cells[:MOST_GROUPS]
            ),
        )  # fmt: skip
        if len(cells) > MOST_GROUPS:
            console.print(f"The first {MOST_GROUPS} of {len(cells):,} groups; --json has all.", markup=False)


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    listed = [tuple(row) for row in rows]
    if not listed:
        return
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in columns:
        right = column not in ("disparity", "by", "verdict", "between", "group")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in listed:
        table.add_row(*row)
    console.print()
    console.print(table, markup=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rate(rate: Mapping[str, Any]) -> str:
    if rate["value"] is None:
        return "-"
    return f"{_number(rate['value'])} \n({_number(rate['low'])} to {_number(rate['high'])})"
