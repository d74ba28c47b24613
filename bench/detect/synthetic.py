"""Synthetic kinds of traffic without drift."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl

from bench.detect.traffic import BLOCK, Traffic, quarters
from monitor.profile.reference_profile import ColumnKind

Columns = dict[str, np.ndarray]


def made_traffic(name: str, columns: dict[str, ColumnKind], draw: Callable[..., Columns]) -> Traffic:
    """Traffic whose columns `draw(generator, rows, day of each row)` returns."""

    def frame(rng: np.random.Generator, days: int, rows: int) -> pl.DataFrame:
        block = quarters(days, rows)
        return pl.DataFrame(draw(rng, len(block), block // 4)).with_columns(pl.Series(BLOCK, block))

    return Traffic(name, columns, frame)


def zipf(rng: np.random.Generator, rows: int, _: np.ndarray, levels: tuple[int, ...] = (5000, 5000, 5000)) -> Columns:
    return {f"z{i}": _level_names(rng.zipf(1.3, rows) % n) for i, n in enumerate(levels)}


def flat(rng: np.random.Generator, rows: int, _: np.ndarray) -> Columns:
    return {f"f{n}": _level_names(rng.integers(0, n, rows)) for n in (400, 5000)}


def identifiers(rng: np.random.Generator, rows: int, _: np.ndarray) -> Columns:
    ids = rng.integers(0, 10**12, rows).astype(str)
    return {"id": ids, "half": np.where(rng.random(rows) < 0.5, ids, "same"), "x": rng.normal(size=rows)}


def rare(rng: np.random.Generator, rows: int, _: np.ndarray) -> Columns:
    return {f"r{i}": (rng.random(rows) < 1e-4).astype(float) for i in range(15)}


def nulls(rng: np.random.Generator, rows: int, _: np.ndarray) -> Columns:
    found = {f"n{i}": np.where(rng.random(rows) < 0.99, np.nan, rng.normal(size=rows)) for i in range(3)}
    return found | {"all": np.full(rows, np.nan), "one": np.ones(rows), "c": np.full(rows, "same")}


def constant(_: np.random.Generator, rows: int, __: np.ndarray) -> Columns:
    return {f"k{i}": np.ones(rows) for i in range(8)}


def pareto(rng: np.random.Generator, rows: int, _: np.ndarray) -> Columns:
    return {f"p{i}": rng.pareto(0.7 + 0.2 * i, rows) for i in range(4)}


def day_effect(rng: np.random.Generator, rows: int, day: np.ndarray, size: float = 0.3) -> Columns:
    days = int(day.max()) + 1
    return {f"a{i}": rng.normal(size=rows) + rng.normal(0, size, days)[day] for i in range(4)}


def wide(rng: np.random.Generator, rows: int, _: np.ndarray, columns: int) -> Columns:
    """Columns in groups of five that share half of their variance."""
    shared = rng.normal(size=(-(-columns // 5), rows))
    return {f"w{i}": 0.7 * shared[i // 5] + 0.7 * rng.normal(size=rows) for i in range(columns)}


def bots(rng: np.random.Generator, rows: int, day: np.ndarray) -> Columns:
    """On a tenth of the days, three rows in ten are copies of one row."""
    copied = (rng.random(int(day.max()) + 1) < 0.1)[day] & (rng.random(rows) < 0.3)
    first = np.searchsorted(day, day)
    of = np.where(copied, first, np.arange(rows))
    return {
        "x": rng.normal(size=rows)[of],
        "y": rng.lognormal(size=rows)[of],
        "c": _level_names(rng.integers(0, 8, rows))[of],
    }


def weekly_mix(rng: np.random.Generator, rows: int, day: np.ndarray) -> Columns:
    """Weekends have another mix: days 5 and 6 of each week, because the bench's days begin on a Monday."""
    weekend = day % 7 >= 5
    return {
        "amount": rng.lognormal(size=rows) * np.where(weekend, 1.5, 1.0),
        "channel": np.where(rng.random(rows) < np.where(weekend, 0.5, 0.3), "app", "web"),
        "steady": rng.normal(size=rows),
    }


def regimes(rng: np.random.Generator, rows: int, day: np.ndarray) -> Columns:
    """A campaign on a fifth of the days changes scale, mix and missing values together."""
    campaign = (rng.random(int(day.max()) + 1) < 0.2)[day]
    return {
        "amount": rng.lognormal(size=rows) * np.where(campaign, 1.6, 1.0),
        "channel": np.where(rng.random(rows) < np.where(campaign, 0.6, 0.3), "app", "web"),
        "age": np.where(rng.random(rows) < np.where(campaign, 0.1, 0.02), np.nan, rng.normal(45, 12, rows)),
        "steady": rng.normal(size=rows),
    }


def sessions(rng: np.random.Generator, rows: int, _: np.ndarray) -> Columns:
    """Sessions of geometric length that share a device and a level; a few hung sessions are twenty times as long.

    Sessions continue across midnight, so neighbouring days share some.
    """
    lengths = rng.geometric(0.15, rows)
    lengths[rng.random(rows) < 0.005] *= 20
    of = np.repeat(np.arange(rows), lengths)[:rows]
    level = rng.normal(size=rows)[of]
    return {
        "latency": np.exp(level + 0.5 * rng.normal(size=rows)),
        "device": np.array(["phone", "desk", "tablet", "car"])[np.minimum(rng.geometric(0.5, rows) - 1, 3)][of],
        "score": 1 / (1 + np.exp(-level + rng.normal(size=rows))),
    }


def synthetic_traffic() -> list[Traffic]:
    zipfs: dict[str, ColumnKind] = dict.fromkeys(("z0", "z1", "z2"), "category")
    effect = made_traffic("day_effect", _numbers("a", 4), day_effect)
    events = made_traffic("rare", _numbers("r", 15), rare)
    kinds: dict[str, ColumnKind] = {"amount": "number", "channel": "category", "steady": "number"}
    weeks = made_traffic("weekly_mix", kinds, weekly_mix)
    found = [
        made_traffic("zipf", zipfs, zipf), made_traffic("zipf40", zipfs, partial(zipf, levels=(40, 5000, 5000))),
        made_traffic("flat", dict.fromkeys(("f400", "f5000"), "category"), flat),
        made_traffic("ids", {"id": "category", "half": "category", "x": "number"}, identifiers),
        events, made_traffic("constant", _numbers("k", 8), constant),
        made_traffic("nulls", {**_numbers("n", 3), "all": "number", "one": "number", "c": "category"}, nulls),
        made_traffic("pareto", _numbers("p", 4), pareto),
        made_traffic("bots", {"x": "number", "y": "number", "c": "category"}, bots),
        effect, made_traffic("wide50", _numbers("w", 50), partial(wide, columns=50)),
        made_traffic("wide200", _numbers("w", 200), partial(wide, columns=200)),
        made_traffic(
            "regimes", {"amount": "number", "channel": "category", "age": "number", "steady": "number"}, regimes
        ),
        made_traffic("sessions", {"latency": "number", "device": "category", "score": "number"}, sessions),
        replace(weeks, exchangeable=False), replace(weeks, name="weekly_declared", phases="weekday_weekend"),
    ]  # fmt: skip
    for size in (0.02, 0.04):
        found.append(made_traffic(f"day_effect_{size}", _numbers("a", 4), partial(day_effect, size=size)))
    for factor in (0.1, 0.55, 1.9, 5.0):
        found += [replace(t, name=f"{t.name}_x{factor:g}", volume=factor) for t in (effect, events)]
    return found


def _numbers(letter: str, count: int) -> dict[str, ColumnKind]:
    return {f"{letter}{i}": "number" for i in range(count)}


def _level_names(codes: np.ndarray) -> np.ndarray:
    return np.char.add("l", codes.astype(str))
