"""The demo's traffic plan: who trains on what, what arrives when. The arrival order is simulated."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from core.errors import InvalidError

TRAIN_SHARE = 0.6  # of the known intents' training rows; the rest is production traffic the model never saw
BASELINE_WINDOWS = 3
QUIET_WINDOWS = 3
CHANNELS = ("app", "web", "phone")
AGE_BANDS = ("18-29", "30-49", "50-64", "65+")


@dataclass(frozen=True)
class Messages:
    """Labelled messages: columns `text`, `category`; `source` says where they come from."""

    train: pl.DataFrame
    test: pl.DataFrame
    new_intents: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class DemoPlan:
    """Frames hold `text`, `category`; `quiet`, `drift` and `later` also the simulated fields of an event.

    training: what v1 learns from. quiet: known intents only, baseline first. drift: new intents enter.
    later: all intents in their natural shares, never trained on by anyone: KPIs before and after are compared on it.
    """

    training: pl.DataFrame
    quiet: pl.DataFrame
    drift: pl.DataFrame
    later: pl.DataFrame
    old_intents: tuple[str, ...]
    new_intents: tuple[str, ...]
    window_rows: int
    baseline_rows: int


def choose_new_intents(categories: list[str], *, seed: int, share: float = 0.22) -> tuple[str, ...]:
    """A seeded choice of the intents that v1 will not know."""
    count = max(1, round(share * len(categories)))
    picked = np.random.default_rng(seed).choice(sorted(categories), size=count, replace=False)
    return tuple(sorted(str(c) for c in picked))


def make_plan(messages: Messages, *, window_rows: int, end: datetime, seed: int) -> DemoPlan:
    """Cut labelled messages into what v1 trains on and three parts of production traffic.

    No row is in two parts, and the last part is the whole test file: nobody trains on it.

    Raises:
        InvalidError: too few rows for a reference and three quiet windows.
    """
    is_new = pl.col("category").is_in(messages.new_intents)
    old_train, new_train = (_shuffled(messages.train.filter(f), seed) for f in (~is_new, is_new))
    cut = round(TRAIN_SHARE * old_train.height)
    training, known = old_train[:cut], old_train[cut:]
    quiet_rows = (BASELINE_WINDOWS + QUIET_WINDOWS) * window_rows
    if known.height < quiet_rows + window_rows // 4:
        raise InvalidError(
            f"the training file leaves {known.height} messages of known intents for production traffic; "
            f"{quiet_rows + window_rows // 4} are needed: give more rows", field="train", value=known.height,
        )  # fmt: skip
    drift = _shuffled(pl.concat([known[quiet_rows:], new_train]), seed + 1)
    drift = drift[: drift.height // window_rows * window_rows]
    later = _shuffled(messages.test, seed + 2)
    phases = [known[:quiet_rows], drift, later]
    total = sum(s.height for s in phases)
    step = timedelta(days=21) / total
    begin, parts = end - step * total, []
    for number, phase in enumerate(phases):
        parts.append(_as_events(phase, begin, step, prefix="qdl"[number], seed=seed + 3 + number))
        begin += step * phase.height
    return DemoPlan(
        training=training, quiet=parts[0], drift=parts[1], later=parts[2],
        old_intents=tuple(sorted(training["category"].unique())), new_intents=messages.new_intents,
        window_rows=window_rows, baseline_rows=BASELINE_WINDOWS * window_rows,
    )  # fmt: skip


def _shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return frame.select("text", "category").sample(fraction=1.0, shuffle=True, seed=seed)


def _as_events(frame: pl.DataFrame, begin: datetime, step: timedelta, *, prefix: str, seed: int) -> pl.DataFrame:
    """Add id, time and the fields a real service would log; they are simulated and independent of the message."""
    random = np.random.default_rng(seed)
    rows = frame.height
    return frame.with_columns(
        event_id=pl.Series([f"{prefix}{i:06d}" for i in range(rows)]),
        ts=pl.Series([(begin + step * i).isoformat() for i in range(rows)]),
        channel=pl.Series(random.choice(CHANNELS, size=rows, p=(0.5, 0.35, 0.15))),
        age_band=pl.Series(random.choice(AGE_BANDS, size=rows, p=(0.3, 0.4, 0.2, 0.1))),
        customer=pl.Series([f"c{n}" for n in random.integers(0, 5000, size=rows)]),
        latency_ms=pl.Series(random.gamma(9.0, 4.0, size=rows).round(1)),
    )
