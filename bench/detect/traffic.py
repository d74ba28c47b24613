"""Kinds of traffic without drift, which draw complete days of rows, in quarters, from one random generator.

The real tables are here, the synthetic ones in `synthetic.py`. Traffic that is not exchangeable has serially dependent
days: its alarms are reported, but do not count in the mean over cells.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import norm

from monitor.detect.arrangement import Season
from monitor.profile.reference_profile import ColumnKind

BLOCK = "block"  # number of the quarter of a day, from 0
Draw = Callable[[np.random.Generator, int, int], pl.DataFrame]  # (generator, days, rows a day)
FIRST_CHANGING_ROW = 17_424  # row of elec2 from which the Victorian market moves; before it three columns are constant


@dataclass(frozen=True)
class Traffic:
    """One kind of traffic. `volume`: rows in a window's block over rows in a reference block. `phases`: as the spec
    declares them.
    """

    name: str
    columns: dict[str, ColumnKind]
    draw: Draw
    exchangeable: bool = True
    volume: float = 1.0
    phases: Season | None = None


def quarters(days: int, rows: int) -> np.ndarray:
    """The quarter of each row, where all quarters have the same number of rows."""
    return np.arange(days * rows) * 4 // rows


def bootstrap(name: str, bank: pl.DataFrame) -> Traffic:
    """Independent rows, drawn from a real table."""

    def draw(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        return bank[rng.integers(0, bank.height, days * rows)].with_columns(pl.Series(BLOCK, quarters(days, rows)))

    return Traffic(name, _kinds(bank), draw)


def bursts(name: str, bank: pl.DataFrame, size: int = 25) -> Traffic:
    """Users who each send one row of a real table `size` times."""

    def draw(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        users = -(-days * rows // size)
        chosen = np.repeat(rng.integers(0, bank.height, users), size)[: days * rows]
        return bank[chosen].with_columns(pl.Series(BLOCK, quarters(days, rows)))

    return Traffic(name, _kinds(bank), draw)


def spans(name: str, bank: pl.DataFrame, length: int) -> Traffic:
    """Complete days or weeks of a real series in random order; with length 0, a period of it in its own order.

    Rows are drawn within the quarter they belong to.
    """
    values = bank.drop(BLOCK)
    label = bank[BLOCK].to_numpy()
    begins = np.searchsorted(label, np.arange(label.max() + 2))
    total = int(label.max()) + 1

    def draw(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        if length:
            chosen = rng.integers(0, total // (4 * length), -(-days // length))
            quarter = (chosen[:, None] * 4 * length + np.arange(4 * length)).ravel()[: 4 * days]
        else:
            quarter = 4 * rng.integers(0, total // 4 - days) + np.arange(4 * days)
        each = np.full(4 * days, rows // 4) + (np.arange(4 * days) % 4 < rows % 4)
        source = np.repeat(quarter, each)
        low, high = begins[source], begins[source + 1]
        picked = low + (rng.random(len(source)) * (high - low)).astype(np.int64)
        found: pl.DataFrame = values[picked].with_columns(pl.Series(BLOCK, np.repeat(np.arange(4 * days), each)))
        return found

    return Traffic(name, _kinds(values), draw, exchangeable=length == 1)


def thinned(name: str, traffic: Traffic, share: Callable[[np.random.Generator, int], np.ndarray]) -> Traffic:
    """The same traffic, of which each day keeps only the share of rows that `share(generator, days)` returns."""

    def draw(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        kept = share(rng, days)
        frame = traffic.draw(rng, days, int(rows / kept.mean()))
        return frame.filter(pl.Series(rng.random(frame.height) < kept[frame[BLOCK].to_numpy() // 4]))

    return replace(traffic, name=name, draw=draw)


def scored(credit: pl.DataFrame) -> pl.DataFrame:
    """Nine columns of the credit table; `score` has the ranks of a real column and a normal law."""
    ranks = credit["BILL_AMT1"].rank("ordinal").to_numpy()
    score = pl.Series("score", norm.ppf((ranks - 0.5) / credit.height))
    others = ("LIMIT_BAL", "AGE", "PAY_0", "BILL_AMT6", "PAY_AMT1", "SEX", "EDUCATION", "MARRIAGE")
    return credit.select(others).with_columns(score)


@dataclass(frozen=True, eq=False)
class Tables:
    """The real tables, read once."""

    credit: pl.DataFrame
    german: pl.DataFrame
    compas: pl.DataFrame
    solutions: pl.DataFrame
    elec2: pl.DataFrame
    bike: pl.DataFrame

    @classmethod
    def read(cls, data: Path) -> "Tables":
        credit = pl.read_parquet(data / "credit_default_taiwan.parquet").cast(pl.Float64)
        bike = pl.read_parquet(data / "bike_sharing_hourly.parquet").select(
            pl.col("temp", "hum", "windspeed").cast(pl.Float64), "cnt",
            pl.col("weathersit", "workingday").cast(pl.String),
            ((pl.col("timestamp") - pl.col("timestamp").min()).dt.total_hours() // 6).alias(BLOCK),
        )  # fmt: skip
        return cls(
            credit=credit.with_columns(pl.col("SEX", "EDUCATION", "MARRIAGE", "default payment").cast(pl.String)),
            german=pl.read_parquet(data / "german_credit.parquet"),
            compas=pl.read_parquet(data / "compas_two_years.parquet").drop(
                "compas_screening_date", "id", strict=False
            ),
            solutions=pl.read_parquet(data / "gsm8k_model_solutions.parquet").select(
                pl.col("question", "response", "reference").str.len_chars().cast(pl.Float64), "model",
                pl.col("is_correct").cast(pl.String),
            ),
            elec2=pl.read_parquet(data / "elec2.parquet")[FIRST_CHANGING_ROW:].select(
                "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer",
                (pl.int_range(pl.len()) // 12).alias(BLOCK),
            ),
            bike=_fill_quarters(bike.filter(pl.col(BLOCK) < 4 * 700)),
        )  # fmt: skip


def real_traffic(tables: Tables) -> list[Traffic]:
    credit, compas = tables.credit, tables.compas
    few = bootstrap("unequal", scored(credit))
    return [
        bootstrap("credit", credit), bootstrap("german", tables.german), bootstrap("compas", compas),
        bootstrap("solutions", tables.solutions), bootstrap("scored", scored(credit)),
        bursts("credit_bursts", credit), bursts("compas_bursts", compas), bursts("scored_bursts", scored(credit)),
        spans("elec2_days", tables.elec2, 1), spans("bike_days", tables.bike, 1),
        spans("elec2_weeks", tables.elec2, 7), spans("bike_weeks", tables.bike, 7),
        spans("elec2_real", tables.elec2, 0), spans("bike_real", tables.bike, 0),
        thinned("unequal", few, lambda rng, days: np.minimum(rng.lognormal(-1.5, 0.8, days), 1.0)),
        thinned("growing", few, lambda rng, days: np.linspace(1 / 3, 1.0, days)),
    ]  # fmt: skip


def _kinds(frame: pl.DataFrame) -> dict[str, ColumnKind]:
    return {n: "number" if t.is_numeric() else "category" for n, t in frame.schema.items() if n != BLOCK}


def _fill_quarters(bike: pl.DataFrame) -> pl.DataFrame:
    """Give each quarter without rows those of the quarter before."""
    present = bike[BLOCK].unique().sort()
    known = present.to_list()
    absent = sorted(set(range(max(known) + 1)) - set(known))
    extra = [bike.filter(pl.col(BLOCK) == b - 1).with_columns(pl.lit(b, dtype=pl.Int64).alias(BLOCK)) for b in absent]
    return pl.concat([bike, *extra]).sort(BLOCK)
