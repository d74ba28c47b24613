"""Untidy values through the real path, from request to answer: null with a reason, never a silent zero or a 500."""

import io
import json
import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select

from core.clock import ManualClock
from core.jobs import ConfirmJob
from monitor.ingest.media import PARQUET
from monitor.site import Site
from monitor.tables import StoredProfile
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import BEGIN, rows
from tests.monitor.windows.untidy import World, constant, open_world

pytestmark = SQLITE_FIRST


@pytest.fixture
def world(site: Site, clock: ManualClock) -> World:
    return open_world(site, clock)


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


def test_long_values_of_a_segment_that_begin_alike_stay_apart(world: World) -> None:
    """Names are cut to what the database holds; two that became equal stopped the model's evaluation."""
    world.declare(columns=world.base["columns"] | {"channel": {"role": "segment", "type": "category"}})
    values = ["y" * 5000 + "a", "y" * 5000 + "b", "Z\u00fcrich"]
    frame = rows(1500)
    world.send(frame.with_columns(pl.Series("channel", [values[i % 3] for i in range(frame.height)])))
    found = [m for m in world.get("measurements", limit=5000) if m["segment"].startswith("channel=")]
    newest = world.newest()["id"]
    assert {m["details"]["part"] for m in found if m["window_id"] == newest} == set(values)
    for asked, value in (*((value, value) for value in values), ("Zu\u0308rich", "Z\u00fcrich")):
        assert {m["details"]["part"] for m in world.get("measurements", segment=f"channel={asked}")} == {value}
    assert {m["segment"] for m in world.get("measurements", segment="", limit=5000)} == {""}
    world.sound()


def test_groups_by_a_text_in_either_unicode_form_are_one(world: World) -> None:
    """Of a category that is the rule of levels; a column that rows are grouped by may be a string as well."""
    added = {"town": {"role": "segment", "type": "string"}, "origin": {"role": "protected", "type": "text"}}
    fairness = [{"metric": "demographic_parity_difference", "by": ["origin"]}]
    world.declare(columns=world.base["columns"] | added, monitors=world.base["monitors"] | {"fairness": fairness})
    frame, towns = rows(1500), ["Zu\u0308rich", "Z\u00fcrich", "Bern"]
    named = pl.Series("town", [towns[i % 3] for i in range(frame.height)])
    world.send(frame.with_columns(named, named.alias("origin")))
    newest = world.newest()["id"]
    found = [m for m in world.get("measurements", limit=5000) if m["window_id"] == newest]
    assert {m["segment"] for m in found if m["segment"].startswith("town=")} == {"town=Z\u00fcrich", "town=Bern"}
    (parity,) = [m for m in found if m["column"] == "origin" and m["monitor"] == "fairness"]
    assert [group["group"] for group in parity["details"]["groups"]] == ["Bern", "Z\u00fcrich"]
    with world.site.database.read() as db:
        profiled = set(db.scalars(select(StoredProfile.segment).where(StoredProfile.segment.startswith("town="))))
    assert profiled == {"town=Z\u00fcrich", "town=Bern"}
    world.sound()
