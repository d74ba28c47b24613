"""Forty days of a credit model: `python -m bench.first_day.credit TABLE.parquet`.

TABLE is "Default of credit card clients" (Taiwan, UCI, doi 10.24432/C55S3H) as Parquet, with the columns LIMIT_BAL to
PAY_AMT6 and `default payment`. A model learns on a third of it; the other rows, in a random order, are its traffic:
39 ordinary days in history.csv, and in today.csv day 40, yesterday, with the hours since, in which one column was
divided by 30. (A window closes when a later event arrives, or after five quiet minutes.)
"""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

OUTCOME: Final = "default payment"
DAYS: Final = 40
LEARNED: Final = 10_000  # rows
KNOWN_AFTER: Final = 7  # days until an outcome is known
SEED: Final = 12


def traffic(table: pl.DataFrame, *, broken: str, factor: float, rows_per_day: int, now: datetime) -> pl.DataFrame:
    """The events of `DAYS` days and of the hours since, with their outcomes where those are known by now.

    Args:
        table: the public table, shape (30000, 24).
        broken: the column that is divided by `factor` from the last day on, before the model sees it.
        factor: by which it is divided.
        rows_per_day: events of one day.
        now: the last day ended at the midnight before.
    """
    random = np.random.default_rng(SEED)
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    seconds = np.sort(random.integers(0, (DAYS + 1) * 86_400, (DAYS + 1) * rows_per_day))
    seconds = seconds[seconds < (now - begin).total_seconds() - 60]
    day = seconds // 86_400
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=SEED)
    learned, served = shuffled[:LEARNED], shuffled[LEARNED : LEARNED + len(seconds)]
    if served.height < len(seconds):
        raise SystemExit(f"the table has {table.height} rows; {rows_per_day} a day need {LEARNED + len(seconds)}")
    inputs = [name for name in table.columns if name != OUTCOME]
    model = HistGradientBoostingClassifier(random_state=SEED, max_iter=80)
    model.fit(learned[inputs].to_numpy(), learned[OUTCOME].to_numpy())
    last = pl.Series(day >= DAYS - 1)
    divided = pl.when(last).then(pl.col(broken) / factor).otherwise(pl.col(broken)).round(2)
    served = served.with_columns(divided.alias(broken))
    risk = model.predict_proba(served[inputs].to_numpy())[:, 1]
    truth = served[OUTCOME].replace_strict({0: "grant", 1: "refuse"})
    return pl.DataFrame({
        "event_id": [f"c{i:06d}" for i in range(served.height)],
        "ts": [(begin + timedelta(seconds=int(s))).strftime("%Y-%m-%dT%H:%M:%SZ") for s in seconds],
        "version": "v1",
        **served[inputs].to_dict(),
        "decision": np.where(risk >= 0.5, "refuse", "grant"),
        "score": np.round(risk, 4),
        "decision_true": truth.set(pl.Series(day >= DAYS - KNOWN_AFTER), None),
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="Parquet file of the public table")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for history.csv and today.csv")
    parser.add_argument("--column", default="LIMIT_BAL", help="the column that is divided on day 40")
    parser.add_argument("--factor", type=float, default=30.0)
    parser.add_argument("--rows-per-day", type=int, default=400)
    given = parser.parse_args()
    now, table = datetime.now(UTC), pl.read_parquet(given.table)
    events = traffic(table, broken=given.column, factor=given.factor, rows_per_day=given.rows_per_day, now=now)
    yesterday = f"{now - timedelta(days=1):%Y-%m-%d}"
    history, today = events.filter(pl.col("ts") < yesterday), events.filter(pl.col("ts") >= yesterday)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, part, what in (
        ("history.csv", history, f"of {DAYS - 1} days"),
        ("today.csv", today, f"since {yesterday}, {given.column} divided by {given.factor:g}"),
    ):
        part.write_csv(given.out / name)
        print(f"{given.out / name}: {part.height} events {what}")


if __name__ == "__main__":
    main()
