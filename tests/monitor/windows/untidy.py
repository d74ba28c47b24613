"""A model behind HTTP whose data is untidy, and checks that every answer about it is sound."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from governance.access.api_keys import first_admin
from monitor.ingest.media import NDJSON
from monitor.site import Site
from monitor.windows.evaluate import evaluate
from tests.monitor.traffic import document, outcomes_body, rows

EVERY = timedelta(minutes=6)  # 240 rows a day
DAYS = {"windows": ["1d"], "false_alarms": {"alpha": 0.12}}


@dataclass
class World:
    """The loans of the other tests behind HTTP."""

    site: Site
    clock: ManualClock
    client: TestClient
    base: dict[str, Any] = field(default_factory=document)

    def declare(self, **changes: Any) -> None:
        self.base |= changes
        answer = self.client.put("/api/v1/models/loans", json=self.base)
        assert answer.status_code in (200, 201), answer.text

    def post(self, body: bytes, kind: str = "events", media: str = NDJSON) -> dict[str, Any]:
        answer = self.client.post(f"/api/v1/models/loans/{kind}", content=body, headers={"Content-Type": media})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def send(self, frame: pl.DataFrame, *, outcomes: bool = True) -> None:
        newest: Any = frame["ts"].str.to_datetime(time_zone="UTC").max()
        self.clock.move_to(newest + timedelta(minutes=2))
        assert self.post(frame.drop("truth", strict=False).write_ndjson().encode())["rejected"] == []
        if outcomes and "truth" in frame.columns:
            self.post(outcomes_body(frame), "outcomes")
        self.evaluate()

    def evaluate(self, site: Site | None = None) -> None:
        evaluate(site or self.site, "loans")

    def get(self, path: str, **query: Any) -> list[dict[str, Any]]:
        items = list[dict[str, Any]]()
        while True:
            answer = self.client.get(f"/api/v1/models/loans/{path}", params=query)
            assert answer.status_code == 200, answer.text
            page = json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} in {path}"))
            items += page["items"]
            if page["next"] is None:
                return items
            query["cursor"] = page["next"]

    def newest(self) -> dict[str, Any]:
        return self.get("windows")[-1]

    def measured(self, window: dict[str, Any] | None = None) -> dict[tuple[str, str, str], dict[str, Any]]:
        wanted = (window or self.newest())["id"]
        found = [m for m in self.get("measurements", limit=5000) if m["window_id"] == wanted and not m["segment"]]
        return {(m["monitor"], m["metric"], m["column"]): m for m in found}

    def sound(self) -> None:
        """Every number is finite or null with its reason, and every page and answer can be had."""
        for m in self.get("measurements", limit=5000):
            assert (m["value"] is None) == bool(m["reason"]), m
            assert m["value"] is None or math.isfinite(m["value"])
        for window in self.get("windows"):
            assert window["sentence"]
            assert self.client.get(f"/windows/{window['id']}").status_code == 200
        for alert in self.get("alerts"):
            assert alert["episodes"]
            assert self.client.get(f"/alerts/{alert['id']}").status_code == 200
        assert self.client.get("/models/loans").status_code == 200
        assert self.client.get("/").status_code == 200


def days(first: int, last: int, *, every: timedelta = EVERY, **how: Any) -> pl.DataFrame:
    """Rows of days `first` up to `last`, drawn day by day."""
    per_day = timedelta(days=1) // every
    return pl.concat([rows(per_day, start=day * per_day, every=every, **how) for day in range(first, last)])


def constant(value: Any, dtype: Any = pl.Float64) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(pl.lit(value, dtype=dtype).alias("amount"))


def open_world(site: Site, clock: ManualClock) -> World:
    key = first_admin(site)
    return World(site, clock, TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"}))
