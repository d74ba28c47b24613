"""Untidy data through the real path, from request to answer: null with a reason, never a silent zero or a 500."""

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from core.clock import ManualClock
from core.jobs import ConfirmJob
from governance.access.api_keys import first_admin
from monitor.ingest.media import NDJSON, PARQUET
from monitor.site import Site
from monitor.windows.close import CLOSE_AFTER_QUIET
from monitor.windows.evaluate import evaluate
from monitor.windows.late_rows import CORRECTION_INTERVAL
from tests.monitor.traffic import BEGIN, document, outcomes_body, rows

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
EVERY = timedelta(minutes=6)  # 240 rows a day
DAYS = {"windows": ["1d"], "false_alarms": {"alpha": 0.12}}
UNORDERED = ("ks", "wasserstein", "auc", "energy")


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


@pytest.fixture
def world(site: Site, clock: ManualClock) -> World:
    key = first_admin(site)
    return World(site, clock, TestClient(create_app(site), headers={"Authorization": f"Bearer {key}"}))


def days(first: int, last: int, *, every: timedelta = EVERY, **how: Any) -> pl.DataFrame:
    """Rows of days `first` up to `last`, drawn day by day."""
    per_day = timedelta(days=1) // every
    return pl.concat([rows(per_day, start=day * per_day, every=every, **how) for day in range(first, last)])


def constant(value: Any, dtype: Any = pl.Float64) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(pl.lit(value, dtype=dtype).alias("amount"))


def test_an_all_null_column_has_null_statistics_with_a_reason_and_a_first_value_shows(world: World) -> None:
    world.declare()
    empty = constant(None)
    world.send(empty(rows(1500)))
    measured = world.measured()
    for name in ("ks", "wasserstein"):
        found = measured["drift", name, "amount"]
        assert (found["value"], found["n"]) == (None, 0)
        assert "no observation" in found["reason"]
    assert measured["quality", "missing", "amount"]["value"] == 1.0
    assert world.newest()["verdict"] == "ok"
    world.send(rows(250, start=1500))
    assert world.newest()["decision"]["verdict"] == "drift"
    assert "`amount`" in world.newest()["sentence"]
    world.sound()


def test_a_column_that_becomes_all_null_is_named(world: World) -> None:
    world.declare()
    world.send(rows(1500))
    world.send(constant(None)(rows(250, start=1500)))
    assert "missing values" in world.newest()["sentence"]
    assert "no observation" in world.measured()["drift", "ks", "amount"]["reason"]
    world.sound()


def test_a_constant_column_is_quiet_until_it_departs(world: World) -> None:
    world.declare()
    world.send(constant(7.0)(rows(1500)))
    quiet = world.measured()
    assert quiet["drift", "ks", "amount"]["value"] == 0.0
    assert "does not vary" in quiet["drift", "wasserstein", "amount"]["reason"]
    assert world.newest()["verdict"] == "ok"
    world.send(constant(7.5)(rows(250, start=1500)))
    assert world.newest()["decision"]["verdict"] == "drift"
    world.sound()


@pytest.mark.parametrize("count", [1, 8])
def test_a_few_rows_in_a_window_say_that_they_are_few(world: World, count: int) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 14))
    world.send(rows(count, start=14 * 240, every=EVERY))
    world.send(days(15, 17))
    few = next(w for w in world.get("windows") if w["rows"] == count)
    measured = world.measured(few)
    assert few["decision"]["p"] is None
    assert measured["drift", "p_value", ""]["reason"] == few["decision"]["reason"]
    assert measured["quality", "missing", "amount"]["details"]["not_tested"] == "fewer than 200 rows that count"
    assert few["decision"]["verdict"] == "volume_changed"
    assert measured["volume", "volume", ""]["alarm"]
    world.sound()


@pytest.mark.parametrize("count", [1, 8])
def test_a_model_that_got_a_few_rows_in_all_is_not_judged_and_says_why(world: World, count: int) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": f"first {count}"})
    world.send(rows(count, every=EVERY))
    world.clock.move_to(world.clock.now() + timedelta(days=2))
    world.evaluate()
    (window,) = world.get("windows")
    assert (window["rows"], window["verdict"]) == (count, "unknown")
    measured = world.measured()
    assert "reference" in measured["drift", "p_value", ""]["reason"]
    assert "reference" in measured["drift", "mmd", ""]["reason"]
    world.sound()


def test_infinite_values_are_refused_and_the_largest_finite_ones_measured(world: World) -> None:
    world.declare()
    world.send(rows(1500))
    frame = rows(250, start=1500)
    body = frame.drop("truth").write_ndjson().splitlines()
    broken = [json.dumps(json.loads(body[0]) | {"amount": "X"}).replace('"X"', text) for text in ("Infinity", "1e999")]
    found = world.post("\n".join(broken).encode())
    assert [r["field"] for r in found["rejected"]] == ["amount", "amount"]
    parquet = io.BytesIO()
    timed = frame.drop("truth").with_columns(pl.col("ts").str.to_datetime(time_zone="UTC"))
    timed.with_columns(pl.lit(math.inf).alias("amount")).write_parquet(parquet)
    assert {r["field"] for r in world.post(parquet.getvalue(), media=PARQUET)["rejected"]} == {"amount"}
    huge = pl.when(pl.int_range(250) % 2 == 0).then(pl.lit(1.7e308)).otherwise(pl.lit(1.6e308))
    world.send(frame.with_columns(huge.alias("amount")))
    assert world.newest()["decision"]["verdict"] == "drift"
    world.sound()


def test_a_reference_of_huge_values_is_measured_or_says_why_not(world: World) -> None:
    world.declare()
    sign = pl.when(pl.int_range(pl.len()) % 2 == 0).then(1.0).otherwise(-1.0)
    huge = (sign * (1.5e308 + 1e307 * pl.col("amount").clip(-1.0, 1.0))).alias("amount")
    world.send(rows(1500).with_columns(huge))
    world.send(rows(250, start=1500).with_columns(huge))
    assert world.newest()["decision"]["judged"]
    world.sound()


def test_categories_by_the_hundred_thousand_are_judged_without_an_alarm(world: World) -> None:
    count = 200_000
    columns = world.base["columns"] | {"session": {"role": "input", "type": "category"}}
    world.declare(columns=columns, baseline={"rows": f"first {count}"}, monitors=world.base["monitors"] | {
        "windows": {"rows": 20_000}, "false_alarms": {"alpha": 0.05}, "kpi": [], "fairness": [],
    })  # fmt: skip
    frame = rows(count + 20_000, every=timedelta(seconds=1)).drop("truth")
    frame = frame.with_columns(
        ("s" + pl.col("event_id")).alias("session"), pl.col("ts").str.to_datetime(time_zone="UTC")
    )
    world.clock.move_to(BEGIN + timedelta(days=4))
    body = io.BytesIO()
    frame.write_parquet(body)
    assert world.post(body.getvalue(), media=PARQUET)["accepted"] == count + 20_000
    world.evaluate()
    newest, measured = world.newest(), world.measured()
    assert newest["decision"]["judged"]
    assert "session" not in {c["column"] for c in newest["decision"]["columns"] if c["alarmed"]}
    assert measured["drift", "ks", "session"]["reason"] == "categories have no order, which this statistic needs"
    assert measured["quality", "missing", "session"]["value"] == 0.0
    assert ("quality", "unseen", "session") not in measured  # names rather than categories
    world.sound()


def test_a_value_of_another_type_is_refused_with_its_field_and_the_rest_is_judged(world: World) -> None:
    world.declare()
    world.send(rows(1500))
    frame = rows(250, start=1500)
    texts = frame.drop("truth").with_columns(pl.col("amount").cast(pl.String))
    found = world.post(texts.write_ndjson().encode())
    assert found["accepted"] == 0
    assert {(r["field"], r["reason"].partition(" is ")[2]) for r in found["rejected"]} == {("amount", "not a number")}
    world.send(frame)
    assert world.newest()["rows"] == 250
    world.sound()


def test_a_column_declared_anew_with_another_type_is_answered_and_never_a_500(world: World) -> None:
    world.declare()
    world.send(rows(1250))
    changed = world.base["columns"] | {"amount": {"role": "input", "type": "category"}}
    answer = world.client.put("/api/v1/models/loans", json=world.base | {"columns": changed})
    assert answer.status_code == 422, answer.text
    assert answer.json()["problems"] == [
        {
            "field": "columns.amount.type", "value": "category",
            "reason": "is stored as number since revision 1; give the new column another name",
        }
    ]  # fmt: skip
    renamed = world.base["columns"] | {"amount_band": {"role": "input", "type": "category"}}
    renamed.pop("amount")
    world.clock.move_to(world.clock.now() + timedelta(minutes=1))
    world.declare(columns=renamed)
    banded = rows(1500, start=1250).with_columns((pl.col("amount") > 0).cast(pl.String).alias("amount_band"))
    world.send(banded.drop("amount"))
    assert world.newest()["verdict"] == "ok"
    world.sound()


def test_a_window_across_a_schema_change_begins_anew_and_counts_the_rows_that_fill_no_window(world: World) -> None:
    world.declare()
    world.send(rows(1600))
    world.clock.move_to(world.clock.now() + timedelta(minutes=1))
    world.declare(columns=world.base["columns"] | {"channel": {"role": "segment", "type": "category"}})
    world.send(rows(1500, start=1600).with_columns(pl.lit("web").alias("channel")))
    first = next(w for w in world.get("windows") if w["spec_revision"] == 2)
    assert first["number"] == 0
    assert first["decision"]["left_over"] == 100
    assert "100 earlier rows are in no window of this length" in first["sentence"]
    assert "spec revision 2 changed columns" in first["sentence"]
    assert world.newest()["verdict"] == "ok"
    world.sound()


def test_a_change_of_columns_in_the_middle_of_a_day_counts_the_rows_of_the_morning(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 12))
    world.send(days(12, 13)[:100])
    world.declare(columns=world.base["columns"] | {"channel": {"role": "segment", "type": "category"}})
    world.send(days(12, 13)[100:].with_columns(pl.lit("web").alias("channel")))
    world.send(days(13, 26).with_columns(pl.lit("web").alias("channel")))
    first = next(w for w in world.get("windows") if w["spec_revision"] == 2)
    assert (first["rows"], first["decision"]["left_over"]) == (140, 100)
    world.sound()


def test_a_change_of_limits_in_the_middle_of_a_window_holds_from_that_window_on(world: World) -> None:
    world.declare()
    world.send(rows(1400))
    strict = world.base["monitors"] | {"kpi": [{"metric": "accuracy", "min": 0.99}]}
    world.declare(monitors=strict)
    world.send(rows(350, start=1400))
    revisions = [w["spec_revision"] for w in world.get("windows")]
    assert revisions == [1, 1, 1, 1, 1, 2, 2]
    assert world.measured()["kpi", "accuracy", ""]["limit"] == 0.99
    world.sound()


def test_events_from_clocks_that_jump_are_refused_or_put_where_their_time_says(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 13))
    ahead = rows(3, start=90_000).with_columns(
        pl.lit((world.clock.now() + timedelta(days=400)).isoformat()).alias("ts")
    )
    found = world.post(ahead.drop("truth").write_ndjson().encode())
    assert {r["field"] for r in found["rejected"]} == {"ts"}
    soon = rows(3, start=91_000).with_columns(pl.lit((world.clock.now() + timedelta(hours=20)).isoformat()).alias("ts"))
    before = len(world.get("windows"))
    assert world.post(soon.drop("truth").write_ndjson().encode())["accepted"] == 3
    world.evaluate()
    assert len(world.get("windows")) == before  # a day does not end because a row says it is over
    past = rows(3, start=92_000).with_columns(pl.lit((BEGIN - timedelta(days=900)).isoformat()).alias("ts"))
    assert world.post(past.drop("truth").write_ndjson().encode())["accepted"] == 3
    world.send(days(13, 15))
    assert world.newest()["decision"]["judged"]
    world.sound()


def test_a_server_clock_that_jumps_back_or_ahead_closes_no_window_twice(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 13))
    before = [(w["id"], w["verdict"]) for w in world.get("windows")]
    world.evaluate(replace(world.site, clock=ManualClock(world.clock.now() - timedelta(days=5))))
    assert [(w["id"], w["verdict"]) for w in world.get("windows")] == before
    world.evaluate(replace(world.site, clock=ManualClock(world.clock.now() + timedelta(days=30))))
    ends = [w["to_ts"] for w in world.get("windows")]
    assert len(ends) == len(set(ends)) == len(before) + 1
    world.send(days(13, 15))
    assert world.newest()["decision"]["judged"]
    world.sound()


def test_days_that_arrive_in_another_order_are_windows_of_their_own_day(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.clock.move_to(BEGIN + timedelta(days=13))
    order = [1, 0, 2, 5, 4, 3, 6, 7, 9, 8, 10, 12, 11]
    for day in order:
        assert world.post(days(day, day + 1).drop("truth").write_ndjson().encode())["accepted"] == 240
        if day in (1, 0):
            continue
        world.evaluate()
    world.clock.move_to(BEGIN + timedelta(days=14))
    world.evaluate()
    found = [(w["from_ts"][:10], w["rows"]) for w in world.get("windows")]
    assert found == [((BEGIN + timedelta(days=d)).date().isoformat(), 240) for d in range(13)]
    world.sound()


def test_a_day_that_comes_before_the_first_one_counts_while_no_window_has_closed(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    for day in (1, 0):
        assert world.post(days(day, day + 1)[:60].drop("truth").write_ndjson().encode())["accepted"] == 60
        world.evaluate()
    world.clock.move_to(world.clock.now() + CLOSE_AFTER_QUIET)
    world.evaluate()
    assert [(w["from_ts"][:10], w["rows"]) for w in world.get("windows")] == [("2026-01-01", 60), ("2026-01-02", 60)]
    world.sound()


def test_late_rows_correct_the_answer_and_the_page_shows_the_earlier_verdict(world: World) -> None:
    world.declare(monitors=world.base["monitors"] | DAYS, baseline={"rows": "first 2400"})
    world.send(days(0, 14))
    world.clock.move_to(world.clock.now() + CORRECTION_INTERVAL)
    late = days(12, 13, shift=4.0, right=0.2).with_columns(("late-" + pl.col("event_id")).alias("event_id"))
    world.send(late)
    found = next(w for w in world.get("windows") if w["corrections"])
    assert (found["rows"], found["verdict"], found["history"][0]["rows"]) == (480, "alarm", 240)
    assert found["history"][0]["why"] == "240 rows arrived late"
    page = world.client.get(f"/windows/{found['id']}").text
    assert "What was said before" in page
    assert "240 rows arrived late" in page
    accuracy = world.measured(found)["kpi", "accuracy", ""]
    assert accuracy["previous_n"] == 240
    assert "by late rows, before" in page
    world.sound()


def test_a_baseline_smaller_than_needed_says_what_is_missing(world: World) -> None:
    monitors = world.base["monitors"] | {"windows": ["1d", "7d"], "false_alarms": "1 per 30d"}
    world.declare(monitors=monitors, baseline={"rows": "first 480"})
    world.send(days(0, 9))
    judged = [w for w in world.get("windows") if w["decision"]["verdict"] == "reference_too_short"]
    assert judged
    for window in judged:
        assert "needed" in window["decision"]["reason"]
        assert window["verdict"] == "unknown"
        assert world.measured(window)["drift", "p_value", ""]["reason"] == window["decision"]["reason"]
        assert world.measured(window)["drift", "ks", "amount"]["value"] is not None
    world.sound()


def test_labels_of_one_class_make_a_kpi_null_with_a_reason_and_never_an_alarm(world: World) -> None:
    columns = world.base["columns"] | {"confidence": {"role": "score", "type": "number", "positive": "yes"}}
    kpi = [{"metric": m, "min": 0.5} for m in ("roc_auc", "pr_auc", "accuracy", "f1_macro")]
    world.declare(columns=columns, monitors=world.base["monitors"] | {"kpi": kpi})

    def only(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            pl.lit("yes").alias("truth"), pl.lit("yes").alias("decision"),
            pl.Series("confidence", np.random.default_rng(1).uniform(0.5, 1.0, frame.height)),
        )  # fmt: skip

    world.send(only(rows(1500)))
    measured = world.measured()
    for name in ("roc_auc",):
        assert measured["kpi", name, ""]["value"] is None
        assert measured["kpi", name, ""]["reason"]
        assert not measured["kpi", name, ""]["alarm"]
    assert measured["kpi", "accuracy", ""]["value"] == 1.0
    fairness = measured["fairness", "equalized_odds_difference", "age_band"]
    assert (fairness["value"] is None) == bool(fairness["reason"])
    assert world.get("alerts") == []
    world.sound()


def statistics(measured: dict[tuple[str, str, str], dict[str, Any]]) -> Sequence[str]:
    return sorted({metric for monitor, metric, _ in measured if monitor == "drift"})


def test_every_verdict_has_the_whole_catalogue_or_says_why_not_and_a_quiet_one_what_it_would_have_shown(
    world: World,
) -> None:
    from monitor.drift import METHODS, TEXT_METHODS
    from monitor.drift.rows import ROW_METHODS

    columns = world.base["columns"] | {"message": {"role": "input", "type": "text"}}
    world.declare(columns=columns)
    vocabulary = [f"word{i}" for i in range(40)]

    def spoken(frame: pl.DataFrame, seed: int, words: Sequence[str] = vocabulary) -> pl.DataFrame:
        random = np.random.default_rng(seed)
        said = [" ".join(random.choice(words, 6)) for _ in range(frame.height)]
        return frame.with_columns(pl.Series("message", said))

    world.send(spoken(rows(1500), 1))
    whole = sorted({*METHODS, *TEXT_METHODS, *ROW_METHODS, "p_value", "effect"})
    quiet = world.newest()
    assert quiet["verdict"] == "ok"
    assert "It would have shown a change of" in quiet["sentence"]
    shown = {v["column"] for v in quiet["decision"]["visible"]}
    assert shown >= {"amount", "region", "message.length"}
    assert "message.oov" not in shown  # constant: no smallest change can be said
    measured = world.measured()
    assert statistics(measured) == whole
    assert measured["drift", "effect", "amount"]["details"]["visible_change"] > 0
    assert measured["drift", "oov", "message"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert "raw rows" in measured["drift", "mmd", ""]["reason"]
    assert "no order" in measured["drift", "ks", "region"]["reason"]
    unjudged = world.measured(world.get("windows")[0])
    assert statistics(unjudged) == sorted({*whole} - {"effect"})
    assert "reference" in unjudged["drift", "psi", ""]["reason"]
    world.send(spoken(rows(250, start=1500, shift=2.0), 2, [f"new{i}" for i in range(40)]))
    loud = world.measured()
    assert loud["drift", "oov", "message"]["value"] == 1.0
    assert loud["drift", "novelty", "message"]["value"] > loud["drift", "novelty", "message"]["details"]["expected"]
    (alert,) = [a for a in world.get("alerts") if a["monitor"] == "drift"]
    from monitor.jobs import confirm

    confirm(world.site, ConfirmJob(alert_id=alert["id"]))
    confirmed = world.measured()
    assert confirmed["drift", "domain_classifier", ""]["value"] > 0.8
    assert all(confirmed["drift", name, ""]["reason"] is None for name in ROW_METHODS)
    world.sound()
