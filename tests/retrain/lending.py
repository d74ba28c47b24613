"""A model of tables to retrain, and its labelled traffic. Its runs take a third of the time of those on texts."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import polars as pl

from core.clock import ManualClock
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from retrain.train.tabular.first import first_model
from tests.retrain import world
from tests.retrain.train.tabular.loans import COLUMNS, loans, recipe


def spec(
    estimator: str, *, regression: bool = False, columns: dict[str, Any] | None = None, **retrain: Any
) -> ModelSpec:
    chosen = recipe(estimator, regression=regression).model_dump(mode="json", exclude_defaults=True)
    answer = "number" if regression else "category"
    kpi = {"metric": "mae", "max": 5} if regression else {"metric": "accuracy", "min": 0.8}
    return parse_spec(
        {
            "model": world.NAME, "task": "regression" if regression else "classification", "owner": "ml@example.com",
            "purpose": "lend",
            "columns": {
                **{c.name: {"role": "input", "type": c.type} for c in COLUMNS},
                "region": {"role": "protected", "type": "category"}, "answer": {"role": "prediction", "type": answer},
                "truth": {"role": "outcome", "type": answer}, **(columns or {}),
            },
            "baseline": {"rows": "first 200"},
            "monitors": {"windows": {"rows": 100}, "false_alarms": {"alpha": 0.01}, "kpi": [kpi]},
            "retrain": {
                "when": ["drift", "kpi"], "min_outcomes": 100, "recipe": chosen,
                "envelope": {"max_gpu_hours": 0.1, "max_forgetting": 1.0, "forgetting_margin": 1.0}, **retrain,
            },
        }
    )  # fmt: skip


def events(frame: pl.DataFrame, first: int, target: str) -> pl.DataFrame:
    return frame.select(
        pl.Series("event_id", [f"e{first + i}" for i in range(frame.height)]),
        pl.Series("ts", [world.START + timedelta(minutes=first + i) for i in range(frame.height)],
                  dtype=pl.Datetime("us", "UTC")),
        pl.Series("region", [("north", "south")[i % 2] for i in range(frame.height)]),
        pl.lit("v1").alias("version"), "age", "purpose", "owner", "branch",
        pl.col(target).alias("answer"), pl.col(target).alias("truth"),
    )  # fmt: skip


def queued(site: Site, clock: ManualClock, estimator: str, *, regression: bool = False, **retrain: Any) -> UUID:
    declared, target = spec(estimator, regression=regression, **retrain), "cost" if regression else "repaid"
    folder = site.settings.home_dir / "models" / "loans"
    folder.parent.mkdir(parents=True, exist_ok=True)
    first_model(recipe(estimator, regression=regression), COLUMNS, target, loans(300), folder, threads=1)
    world.declare(site, declared)
    for rows, at in ((loans(250, seed=1), 0), (loans(450, seed=2, turned=True), 250)):
        frame = events(rows, at, target)
        clock.move_to(frame["ts"].max())  # type: ignore[arg-type]  # a time
        site.events.append_events(declared, frame.drop("truth"), now=clock.now())
        site.events.append_outcomes(declared, frame.select("event_id", "truth"), now=clock.now())
    world.baseline_ends(site, 250)
    return world.start(site)
