"""A lender's model of typed columns: its file, its spec, and its decisions, which are the model's own."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xgboost

from monitor import service
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = ("income", "debt", "late", "defaults", "age")
REASONS: dict[str, Any] = {
    "adverse": "refused", "reference": "approved", "most": 3, "reference_rows": 200,
    "table": {"version": "2026-01", "texts": {
        "income": "Income is too low for the amount", "debt": "Debts are high",
        "history": "Payments were late or missed",
    }},
    "group": {"history": ["late", "defaults"]}, "mutable": {"income": "up", "debt": "down"}, "budget": 400,
}  # fmt: skip


def applicants(count: int, seed: int, *, poorer: float = 0.0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame({
        "income": random.normal(30 - poorer, 8, count).round(2), "debt": random.gamma(2.0, 5.0, count).round(2),
        "late": random.poisson(0.6, count).astype(float), "defaults": random.poisson(0.3, count).astype(float),
        "age": random.integers(20, 70, count).astype(float),
    })  # fmt: skip


def model(folder: Path) -> tuple[Path, xgboost.Booster]:
    """Trees that refuse (their second class) the poor, the indebted, those who paid late, and a little the young."""
    rows = applicants(1_500, 1)
    points = -0.12 * (rows["income"] - 30) + 0.08 * (rows["debt"] - 10) + rows["late"] + 0.8 * rows["defaults"] - 0.7
    points += 0.03 * (45 - rows["age"])
    refused = (points + np.random.default_rng(2).normal(0, 0.3, len(points))) > 0
    data = xgboost.DMatrix(rows.to_numpy(), label=refused.to_numpy(), feature_names=list(FEATURES))
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "eta": 0.3, "nthread": 1}, data, 30)
    file = folder / "model.ubj"
    booster.save_model(file)
    return file, booster


def spec(file: Path, **changes: Any) -> ModelSpec:
    number = {"role": "input", "type": "number"}
    document: dict[str, Any] = {
        "model": "loans", "task": "classification", "owner": "risk@example.com", "purpose": "decide small loans",
        "columns": {
            **dict.fromkeys(("income", "debt", "late", "defaults"), number),
            "age": {"role": "protected", "type": "number"}, "channel": {"role": "segment", "type": "category"},
            "decision": {"role": "prediction", "type": "category"},
        },
        "baseline": {"rows": "first 400"},
        "monitors": {"windows": {"rows": 100}, "false_alarms": {"alpha": 0.2}},
        "explain": {"model": str(file), "features": list(FEATURES), "outputs": ["approved", "refused"]},
        "reasons": REASONS,
    }  # fmt: skip
    return parse_spec(document | changes, new=True)


def decisions(booster: xgboost.Booster, rows: pl.DataFrame, start: int) -> pl.DataFrame:
    """Events with the answers of the model."""
    matrix = xgboost.DMatrix(rows.to_numpy(), feature_names=list(FEATURES))
    share = booster.predict(matrix)
    count = rows.height
    return rows.with_columns(
        event_id=pl.Series([f"e{start + i}" for i in range(count)]),
        ts=pl.Series([(BEGIN + timedelta(minutes=start + i)).isoformat() for i in range(count)]),
        version=pl.lit("v1"), channel=pl.Series(["web" if i % 2 else "shop" for i in range(count)]),
        decision=pl.Series(["refused" if one > 0.5 else "approved" for one in share]),
    )  # fmt: skip


def declare(site: Site, declared: ModelSpec) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, declared, "tester")


def send(site: Site, frame: pl.DataFrame) -> None:
    assert receive(site, "loans", "events", Body(frame.write_ndjson().encode(), NDJSON)).accepted == frame.height
