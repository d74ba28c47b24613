"""Kinds of traffic without drift. Each draws whole days of rows, in quarters, from one random generator."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from monitor.baseline import ColumnKind

BLOCK = "block"  # number of the quarter of a day, from 0
Draw = Callable[[np.random.Generator, int, int], pl.DataFrame]  # (generator, days, rows a day)


@dataclass(frozen=True)
class Traffic:
    name: str
    columns: dict[str, ColumnKind]
    draw: Draw
    exchangeable: bool = True


def _blocks(days: int, rows: int) -> np.ndarray:
    """Quarter of each row when every quarter has as many rows."""
    return np.arange(days * rows) * 4 // rows


def _kinds(frame: pl.DataFrame) -> dict[str, ColumnKind]:
    return {n: "number" if t.is_numeric() else "category" for n, t in frame.schema.items() if n != BLOCK}


def bootstrap(name: str, bank: pl.DataFrame) -> Traffic:
    """Independent rows of a real table."""

    def draw(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        return bank[rng.integers(0, bank.height, days * rows)].with_columns(pl.Series(BLOCK, _blocks(days, rows)))

    return Traffic(name, _kinds(bank), draw)


def bursts(name: str, bank: pl.DataFrame, size: int = 25) -> Traffic:
    """Users who send one row of a real table `size` times."""

    def draw(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        users = -(-days * rows // size)
        chosen = np.repeat(rng.integers(0, bank.height, users), size)[: days * rows]
        return bank[chosen].with_columns(pl.Series(BLOCK, _blocks(days, rows)))

    return Traffic(name, _kinds(bank), draw)


def spans(name: str, bank: pl.DataFrame, length: int, *, exchangeable: bool) -> Traffic:
    """Whole days (or weeks) of a real series, drawn anew; rows are drawn within the quarter they belong to."""
    values = bank.drop(BLOCK)
    label = bank[BLOCK].to_numpy()
    begins = np.searchsorted(label, np.arange(label.max() + 2))
    count = (int(label.max()) + 1) // (4 * length)

    def draw(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        chosen = rng.integers(0, count, -(-days // length))
        quarter = (chosen[:, None] * 4 * length + np.arange(4 * length)).ravel()[: 4 * days]
        each = np.full(4 * days, rows // 4) + (np.arange(4 * days) % 4 < rows % 4)
        source = np.repeat(quarter, each)
        low, high = begins[source], begins[source + 1]
        picked = low + (rng.random(len(source)) * (high - low)).astype(np.int64)
        return values[picked].with_columns(pl.Series(BLOCK, np.repeat(np.arange(4 * days), each)))

    return Traffic(name, _kinds(values), draw, exchangeable)


def made(name: str, columns: dict[str, ColumnKind], draw: Callable[..., dict[str, np.ndarray]]) -> Traffic:
    """Made-up rows; `draw(generator, rows, day of each row)` gives the columns."""

    def frame(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        block = _blocks(days, rows)
        return pl.DataFrame(draw(rng, len(block), block // 4)).with_columns(pl.Series(BLOCK, block))

    return Traffic(name, columns, frame)


def _zipf(rng: np.random.Generator, rows: int, _: np.ndarray) -> dict[str, np.ndarray]:
    return {f"z{i}": np.char.add("l", (rng.zipf(1.3, rows) % 5000).astype(str)) for i in range(3)}


def _flat(rng: np.random.Generator, rows: int, _: np.ndarray) -> dict[str, np.ndarray]:
    return {f"f{n}": np.char.add("l", rng.integers(0, n, rows).astype(str)) for n in (400, 5000)}


def _ids(rng: np.random.Generator, rows: int, _: np.ndarray) -> dict[str, np.ndarray]:
    ids = rng.integers(0, 10**12, rows).astype(str)
    return {"id": ids, "half": np.where(rng.random(rows) < 0.5, ids, "same"), "x": rng.normal(size=rows)}


def _rare(rng: np.random.Generator, rows: int, _: np.ndarray) -> dict[str, np.ndarray]:
    return {f"r{i}": (rng.random(rows) < 1e-4).astype(float) for i in range(15)}


def _nulls(rng: np.random.Generator, rows: int, _: np.ndarray) -> dict[str, np.ndarray]:
    found = {f"n{i}": np.where(rng.random(rows) < 0.99, np.nan, rng.normal(size=rows)) for i in range(3)}
    return found | {"all": np.full(rows, np.nan), "one": np.ones(rows), "c": np.full(rows, "same")}


def _pareto(rng: np.random.Generator, rows: int, _: np.ndarray) -> dict[str, np.ndarray]:
    return {f"p{i}": rng.pareto(0.7 + 0.2 * i, rows) for i in range(4)}


def _day_effect(rng: np.random.Generator, rows: int, day: np.ndarray) -> dict[str, np.ndarray]:
    days = int(day.max()) + 1
    return {f"a{i}": rng.normal(size=rows) + rng.normal(0, 0.3, days)[day] for i in range(4)}


def _regimes(rng: np.random.Generator, rows: int, day: np.ndarray) -> dict[str, np.ndarray]:
    """A fifth of the days is of another kind: a campaign that changes scale, mix and gaps together."""
    days = int(day.max()) + 1
    campaign = (rng.random(days) < 0.2)[day]
    return {
        "amount": rng.lognormal(size=rows) * np.where(campaign, 1.6, 1.0),
        "channel": np.where(rng.random(rows) < np.where(campaign, 0.6, 0.3), "app", "web"),
        "age": np.where(rng.random(rows) < np.where(campaign, 0.1, 0.02), np.nan, rng.normal(45, 12, rows)),
        "steady": rng.normal(size=rows),
    }


def _sessions(rng: np.random.Generator, rows: int, _: np.ndarray) -> dict[str, np.ndarray]:
    """Sessions of geometric length that share a device and a level, with a few hung sessions that repeat one row."""
    lengths = rng.geometric(0.15, rows)
    lengths[rng.random(rows) < 0.005] *= 20
    of = np.repeat(np.arange(rows), lengths)[:rows]
    level = rng.normal(size=rows)[of]
    return {
        "latency": np.exp(level + 0.5 * rng.normal(size=rows)),
        "device": np.array(["phone", "desk", "tablet", "car"])[np.minimum(rng.geometric(0.5, rows) - 1, 3)][of],
        "score": 1 / (1 + np.exp(-level + rng.normal(size=rows))),
    }


def every(data: Path) -> dict[str, Traffic]:
    credit = pl.read_parquet(data / "credit_default_taiwan.parquet").cast(pl.Float64)
    credit = credit.with_columns(pl.col("SEX", "EDUCATION", "MARRIAGE", "default payment").cast(pl.String))
    german = pl.read_parquet(data / "german_credit.parquet")
    compas = pl.read_parquet(data / "compas_two_years.parquet").drop("compas_screening_date", "id", strict=False)
    solutions = pl.read_parquet(data / "gsm8k_model_solutions.parquet").select(
        pl.col("question", "response", "reference").str.len_chars().cast(pl.Float64), "model",
        pl.col("is_correct").cast(pl.String),
    )  # fmt: skip
    elec = pl.read_parquet(data / "elec2.parquet")
    elec = elec[SWITCH:].select(
        "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer",
        ((pl.int_range(pl.len())) // 12).alias(BLOCK),
    )  # fmt: skip
    bike = pl.read_parquet(data / "bike_sharing_hourly.parquet")
    bike = bike.select(
        "temp", "hum", "windspeed", "cnt", pl.col("weathersit", "workingday").cast(pl.String),
        ((pl.col("timestamp") - pl.col("timestamp").min()).dt.total_hours() // 6).alias(BLOCK),
    )  # fmt: skip
    bike = bike.filter(pl.col(BLOCK) < 4 * 700).with_columns(pl.col("temp", "hum", "windspeed").cast(pl.Float64))
    numbers = {f"r{i}": "number" for i in range(15)}
    found = [
        bootstrap("credit", credit), bootstrap("german", german), bootstrap("compas", compas),
        bootstrap("solutions", solutions), bursts("credit_bursts", credit), bursts("compas_bursts", compas),
        spans("elec2_days", elec, 1, exchangeable=True), spans("bike_days", _filled(bike), 1, exchangeable=True),
        spans("elec2_weeks", elec, 7, exchangeable=False), spans("bike_weeks", _filled(bike), 7, exchangeable=False),
        made("zipf", dict.fromkeys(("z0", "z1", "z2"), "category"), _zipf),
        made("flat", dict.fromkeys(("f400", "f5000"), "category"), _flat),
        made("ids", {"id": "category", "half": "category", "x": "number"}, _ids),
        made("rare", numbers, _rare),
        made("nulls", {**dict.fromkeys(("n0", "n1", "n2", "all", "one"), "number"), "c": "category"}, _nulls),
        made("pareto", dict.fromkeys(("p0", "p1", "p2", "p3"), "number"), _pareto),
        made("day_effect", dict.fromkeys(("a0", "a1", "a2", "a3"), "number"), _day_effect),
        made("regimes", {"amount": "number", "channel": "category", "age": "number", "steady": "number"}, _regimes),
        made("sessions", {"latency": "number", "device": "category", "score": "number"}, _sessions),
    ]  # fmt: skip
    return {traffic.name: traffic for traffic in found}


SWITCH = 17_424  # row from which the Victorian market moves; before it three columns are constant


def _filled(bike: pl.DataFrame) -> pl.DataFrame:
    """A quarter without a row takes those of the quarter before."""
    present = bike[BLOCK].unique().sort()
    absent = sorted(set(range(int(present.max()) + 1)) - set(present.to_list()))
    extra = [bike.filter(pl.col(BLOCK) == b - 1).with_columns(pl.lit(b, dtype=pl.Int64).alias(BLOCK)) for b in absent]
    return pl.concat([bike, *extra]).sort(BLOCK)
