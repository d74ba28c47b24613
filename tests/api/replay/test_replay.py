"""`assay replay` on public data with known changes, on files made to be awkward, and on files that must be refused."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from api.replay.input import read_events, read_outcomes
from api.replay.replay_file import replay_file
from core.errors import AppError
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from tests.service import assay

NOW = datetime(2026, 6, 1, tzinfo=UTC)
START = datetime(2026, 1, 5, tzinfo=UTC)
SHIFT = 17_424  # row of elec2 from which the Victorian market moves
VICTORIA = {"vicprice", "vicdemand", "transfer"}
NUMBER, LABEL = {"role": "input", "type": "number"}, {"role": "input", "type": "category"}
PREDICTION, OUTCOME = {"role": "prediction", "type": "category"}, {"role": "outcome", "type": "category"}


def spec(columns: dict[str, Any], *, baseline: int, task: str = "classification", **more: Any) -> ModelSpec:
    return parse_spec(
        {
            "model": "replayed", "task": task, "owner": "ml@example.com", "purpose": "replay",
            "columns": columns, "baseline": {"rows": f"first {baseline}"}, **more,
        }
    )  # fmt: skip


def rows_of(size: int, **more: Any) -> dict[str, Any]:
    return {"windows": {"rows": size}, "false_alarms": {"alpha": 0.005}, **more}


def events(frame: pl.DataFrame, *, every: timedelta) -> pl.DataFrame:
    """The frame as events: an id from the row number, a time `every` so often from START on, one version."""
    return frame.with_row_index("_row").select(
        pl.format("e{}", "_row").alias("event_id"),
        pl.lit(START).add(pl.col("_row").cast(pl.Int64) * every).cast(pl.Datetime("us", "UTC")).alias("ts"),
        pl.lit("v1").alias("version"),
        pl.exclude("_row"),
    )


def replayed(tmp_path: Path, model: ModelSpec, frame: pl.DataFrame, outcomes: Path | None = None) -> dict[str, Any]:
    file = tmp_path / "events.parquet"
    frame.write_parquet(file)
    document = replay_file(tmp_path / "home", model, file, outcomes)
    json.dumps(document)
    assert {"model", "windows", "alerts", "runs", "rejected"} <= document.keys()
    for window in document["windows"]:
        assert {"from", "to", "rows", "verdict", "alarms", "kpi", "fairness"} <= window.keys()
        assert window["verdict"] in {"ok", "alarm", "unknown"}
        assert all(alarm.keys() >= {"monitor", "metric", "column", "value", "limit"} for alarm in window["alarms"])
        assert (window["verdict"] == "alarm") == bool(window["alarms"])
        assert all(kpi.keys() >= {"realised", "estimated", "low", "high"} for kpi in window["kpi"].values())
    return document


def elec2(shared_data: Path, first: int, last: int) -> pl.DataFrame:
    """Half hours of the market; the model says what the half hour before turned out to be."""
    frame = pl.read_parquet(shared_data / "elec2.parquet").select(
        "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer",
        pl.col("class").shift(1, fill_value=0).alias("said"), pl.col("class").alias("truth"),
    )  # fmt: skip
    return events(frame[first:last], every=timedelta(minutes=30))


ELEC2 = {
    **dict.fromkeys(("nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"), NUMBER),
    "said": PREDICTION, "truth": OUTCOME,
}  # fmt: skip


def named(window: dict[str, Any], monitor: str = "drift") -> set[str]:
    return {alarm["column"] for alarm in window["alarms"] if alarm["monitor"] == monitor}


# --- public data ------------------------------------------------------------------------------------------------------


def test_the_shift_of_elec2_is_found_in_the_window_of_rows_that_holds_it(tmp_path: Path, shared_data: Path) -> None:
    first, size = 9_984, 480
    model = spec(ELEC2, baseline=4800, monitors=rows_of(size, kpi=[{"metric": "accuracy", "min": 0.6}]))
    found = replayed(tmp_path, model, elec2(shared_data, first, SHIFT + 5 * size))
    holds = (SHIFT - first) // size
    named_in = [i for i, window in enumerate(found["windows"]) if named(window) & VICTORIA]
    assert named_in[0] in (holds, holds + 1)
    assert named_in == list(range(named_in[0], len(found["windows"])))
    assert all(window["rows"] == size for window in found["windows"])
    # "the same as half an hour before" is right in 85.3 % of all rows
    assert all(0.75 < window["kpi"]["accuracy"]["realised"] < 0.95 for window in found["windows"])
    assert found["accepted"] == SHIFT + 5 * size - first


@pytest.mark.parametrize(
    ("reference", "judged"),
    [
        (42, {"1d"}),
        pytest.param(63, {"1d", "7d"}, marks=pytest.mark.slow),
        pytest.param(84, {"1d", "7d"}, marks=pytest.mark.slow),
    ],
)
def test_the_shift_of_elec2_is_found_on_its_day_and_told_a_minute_after_it(
    tmp_path: Path, shared_data: Path, reference: int, judged: set[str]
) -> None:
    """Six weeks of reference support the days of one false alarm a month, eight the weeks as well."""
    before = reference + 7
    first = SHIFT - 48 * before
    model = spec(ELEC2, baseline=48 * reference, monitors={"windows": ["1d", "7d"], "false_alarms": "1 per 30d"})
    found = replayed(tmp_path, model, elec2(shared_data, first, SHIFT + 48 * 8))
    day = START + timedelta(days=before)
    hits = [w for w in found["windows"] if named(w) & VICTORIA]
    assert (hits[0]["scale"], datetime.fromisoformat(hits[0]["from"])) == ("1d", day)
    assert {w["scale"] for w in hits} == judged
    opened = [a for a in found["alerts"] if a["monitor"] == "drift"]
    assert datetime.fromisoformat(opened[0]["opened_at"]) <= day + timedelta(days=1, minutes=1)
    days = [w for w in found["windows"] if w["scale"] == "1d"]
    assert [w["rows"] for w in days] == [48] * (before + 8)
    starts = [datetime.fromisoformat(w["from"]) for w in days]
    assert starts == [START + timedelta(days=n) for n in range(before + 8)]


def test_intents_nobody_trained_on_alarm_when_they_enter_and_not_before(tmp_path: Path, shared_data: Path) -> None:
    messages = pl.read_parquet(shared_data / "banking77_train.parquet").sample(fraction=1, shuffle=True, seed=3)
    intents = sorted(messages["category"].unique())
    known, new = set(intents[:60]), set(intents[60:])
    before, after = messages.filter(pl.col("category").is_in(known))[:4000], messages.filter(
        pl.col("category").is_in(new)
    )[:1000]  # fmt: skip
    said = pl.when(pl.col("category").is_in(known)).then("category").otherwise(pl.lit(intents[0]))
    frame = pl.concat([before, after]).select("text", said.alias("intent"), pl.col("category").alias("intent_true"))
    columns = {"text": {"role": "input", "type": "text"}, "intent": PREDICTION, "intent_true": OUTCOME}
    model = spec(columns, baseline=2000, monitors=rows_of(500, kpi=[{"metric": "accuracy", "min": 0.9}]))
    found = replayed(tmp_path, model, events(frame, every=timedelta(minutes=1)))
    assert [w["verdict"] for w in found["windows"]] == ["unknown"] * 4 + ["ok"] * 4 + ["alarm"] * 2
    entered = found["windows"][8]
    assert entered["kpi"]["accuracy"]["realised"] == 0
    assert {alarm["monitor"] for alarm in entered["alarms"]} == {"drift", "kpi", "concept"}


def test_a_forecast_of_winter_fails_in_spring_on_bike_sharing(tmp_path: Path, shared_data: Path) -> None:
    hours = pl.read_parquet(shared_data / "bike_sharing_hourly.parquet").filter(pl.col("yr") == 0)[:3200]
    winter = hours.filter(pl.col("mnth") <= 2).group_by("hr", "workingday").agg(pl.col("cnt").mean().alias("forecast"))
    frame = hours.join(winter, on=["hr", "workingday"], how="left", maintain_order="left").select(
        pl.col("instant").alias("event_id"), pl.col("timestamp").alias("ts"), pl.lit("v1").alias("version"), "temp",
        "hum", "windspeed", "weathersit", "forecast", "cnt",
    )  # fmt: skip
    columns = {
        "temp": NUMBER, "hum": NUMBER, "windspeed": NUMBER, "weathersit": LABEL,
        "forecast": {"role": "prediction", "type": "number"}, "cnt": {"role": "outcome", "type": "number"},
    }  # fmt: skip
    monitors = {"windows": ["7d"], "false_alarms": "1 per 60d", "kpi": [{"metric": "mae", "max": 45}]}
    model = spec(columns, baseline=1300, task="regression", monitors=monitors)
    file = tmp_path / "naive.parquet"
    frame.write_parquet(file)
    with pytest.raises(AppError, match="zone"):
        read_events(file, model, now=NOW)
    found = replayed(tmp_path, model, frame.with_columns(pl.col("ts").dt.replace_time_zone("UTC")))
    errors = [w["kpi"]["mae"]["realised"] for w in found["windows"]]
    assert max(errors[:8]) < 45 < min(errors[-3:])
    assert "kpi" in {a["monitor"] for a in found["alerts"]}


def test_the_known_bias_of_compas_is_measured_and_alarms(tmp_path: Path, shared_data: Path) -> None:
    people = pl.read_parquet(shared_data / "compas_two_years.parquet").sort("compas_screening_date", "id")
    frame = people.filter(pl.col("race").is_in(["African-American", "Caucasian"])).select(
        pl.col("id").alias("event_id"), pl.lit("v1").alias("version"), "age", "priors_count", "race",
        (pl.col("decile_score") >= 5).alias("high"), (pl.col("two_year_recid") == 1).alias("again"),
        pl.col("compas_screening_date").dt.replace_time_zone("UTC").alias("ts"),
    )  # fmt: skip
    columns = {
        "age": NUMBER, "priors_count": NUMBER, "race": {"role": "protected", "type": "category"},
        "high": {"role": "prediction", "type": "boolean"}, "again": {"role": "outcome", "type": "boolean"},
    }  # fmt: skip
    rules = [{"metric": name, "by": ["race"], "max": 0.1} for name in
             ("equalized_odds_difference", "demographic_parity_difference")]  # fmt: skip
    model = spec(columns, baseline=150, monitors=rows_of(6000, fairness=rules))
    found = replayed(tmp_path, model, pl.concat([frame, frame[:0]]))
    assert frame.height == 6150
    (window,) = found["windows"]
    measured = {f["metric"]: f for f in window["fairness"]}
    # published for all rows: 0.2139 and 0.2402; these are the last 6,000 of 6,150
    assert measured["equalized_odds_difference"]["value"] == pytest.approx(0.2139, abs=0.015)
    assert measured["demographic_parity_difference"]["value"] == pytest.approx(0.2402, abs=0.015)
    assert named(window, "fairness") == {"race"}
    assert {g["group"] for g in measured["equalized_odds_difference"]["groups"]} == {"African-American", "Caucasian"}


def test_german_credit_by_age_and_by_sex(tmp_path: Path, shared_data: Path) -> None:
    frame = pl.read_parquet(shared_data / "german_credit.parquet").select(
        "month", "credit_amount", "purpose", (pl.col("credit") == 1).alias("good"),
        pl.when(pl.col("age") > 25).then(pl.lit("over 25")).otherwise(pl.lit("up to 25")).alias("age_band"),
        pl.when(pl.col("personal_status") == "A92").then(pl.lit("female")).otherwise(pl.lit("male")).alias("sex"),
    )  # fmt: skip
    protected = {"role": "protected", "type": "category"}
    columns = {
        "month": NUMBER, "credit_amount": NUMBER, "purpose": LABEL, "good": {"role": "prediction", "type": "boolean"},
        "age_band": protected, "sex": protected,
    }  # fmt: skip
    rule = {"metric": "demographic_parity_difference", "by": ["age_band", "sex"], "max": 0.3}
    model = spec(columns, baseline=1000, monitors=rows_of(1000, fairness=[rule]))
    twice = pl.concat([frame, frame])  # the reference, and a window of the same rows
    _, window = replayed(tmp_path, model, events(twice, every=timedelta(hours=1)))["windows"]
    values = {f["by"]: f["value"] for f in window["fairness"]}
    assert values["age_band"] == pytest.approx(0.1494, abs=5e-5)
    assert values["sex"] == pytest.approx(0.0748, abs=5e-5)


# --- synthetic --------------------------------------------------------------------------------------------------------

SMALL = {"amount": NUMBER, "urgent": {"role": "segment", "type": "boolean"}, "said": PREDICTION, "truth": OUTCOME}


def small(n: int = 600) -> pl.DataFrame:
    """Rows in which everything is even, and the model is always right."""
    frame = pl.DataFrame({"amount": [float(i % 7) for i in range(n)], "urgent": [i % 2 == 0 for i in range(n)],
                          "said": ["yes" if i % 3 else "no" for i in range(n)]})  # fmt: skip
    return events(frame.with_columns(pl.col("said").alias("truth")), every=timedelta(minutes=10))


def test_every_kind_of_file_gives_the_same_document(tmp_path: Path) -> None:
    model = spec(SMALL, baseline=200, monitors=rows_of(200, kpi=[{"metric": "accuracy"}]))
    frame = small()
    expected = replayed(tmp_path, model, frame.sample(fraction=1, shuffle=True, seed=1))
    text = frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%d %H:%M:%S+00:00"))
    text.write_csv(tmp_path / "events.csv")
    text.with_columns(pl.col("ts").str.replace(" ", "T")).write_ndjson(tmp_path / "events.jsonl")
    for name in ("events.csv", "events.jsonl"):
        assert replay_file(tmp_path / name.replace(".", "-"), model, tmp_path / name, None) == expected
    assert [w["kpi"]["accuracy"]["realised"] for w in expected["windows"]] == [1.0] * 3


def test_outcomes_that_arrive_late_are_joined_when_they_arrive(tmp_path: Path) -> None:
    model = spec(SMALL, baseline=200, monitors={"windows": ["1d"], "kpi": [{"metric": "accuracy", "min": 0.5}]})
    frame = small(144 * 4)
    late = frame.select("event_id", (pl.col("ts") + timedelta(days=2)).alias("ts"), pl.lit("never").alias("truth"))
    late = pl.concat([late, late[:1].with_columns(pl.lit("nobody").alias("event_id"))])
    late.write_parquet(tmp_path / "outcomes.parquet")
    found = replayed(tmp_path, model, frame.drop("truth"), tmp_path / "outcomes.parquet")
    assert [w["kpi"]["accuracy"]["n"] for w in found["windows"]] == [144] * 4
    assert [w["kpi"]["accuracy"]["realised"] for w in found["windows"]] == [0.0] * 4
    (alert,) = [a for a in found["alerts"] if a["monitor"] == "kpi"]
    opened = datetime.fromisoformat(alert["opened_at"])
    assert START + timedelta(days=3) <= opened <= START + timedelta(days=3, minutes=1)
    (rejected,) = found["rejected"]
    assert (rejected["file"], rejected["line"], rejected["field"]) == ("outcomes.parquet", late.height, "event_id")


def test_a_policy_is_replayed_without_its_base_model_and_nothing_is_trained(tmp_path: Path) -> None:
    policy = {
        "when": ["kpi", {"new_outcomes": 400}], "cooldown": "24h", "min_outcomes": 100,
        "recipe": {"base_model": "/models/nowhere", "method": "qlora", "task": "sequence_classification"},
    }  # fmt: skip
    monitors = rows_of(200, kpi=[{"metric": "accuracy", "min": 0.9}])
    model = spec({"text": {"role": "input", "type": "text"}, **SMALL}, baseline=200, monitors=monitors, retrain=policy)
    frame = small(1600).with_columns(
        pl.lit("hello").alias("text"),
        pl.when(pl.int_range(pl.len()) < 800).then("truth").otherwise(pl.lit("other")).alias("truth"),
    )
    found = replayed(tmp_path, model, frame)
    assert any("/models/nowhere" in note for note in found["notes"])
    at = [datetime.fromisoformat(run["at"]) for run in found["runs"]]
    assert at
    assert all(later - earlier >= timedelta(hours=24) for earlier, later in pairwise(at))
    assert {run["state"] for run in found["runs"]} == {"would_have_started"}
    assert "kpi" in {f["name"] for run in found["runs"] for f in run["findings"] if f["fire"]}
    assert {b["name"] for d in found["blocked"] for b in d["blocked_by"]} <= {"cooldown", "min_outcomes"}


def test_the_answer_is_one_json_document_on_stdout_and_refused_rows_are_named_on_stderr(tmp_path: Path) -> None:
    model = spec(SMALL, baseline=200, monitors=rows_of(200))
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(model.document))
    text = small().with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).cast(pl.String)
    lines = text.write_csv().splitlines()
    lines[4] = lines[4].replace(lines[4].split(",")[3], "many")  # amount
    lines[7] = "," + lines[7].partition(",")[2]  # no event_id
    lines[9] = lines[9].replace("2026", "soon", 1)
    (tmp_path / "events.csv").write_text("\n".join(lines))
    done = assay("replay", "spec.yaml", "events.csv", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(r["line"], r["field"]) for r in found["rejected"]] == [(5, "amount"), (8, "event_id"), (10, "ts")]
    assert (found["accepted"], found["model"]) == (597, "replayed")
    for line in (5, 8, 10):
        assert f"events.csv line {line}: " in done.stderr
    done = assay("replay", "spec.yaml", "events.csv", cwd=tmp_path)
    assert done.returncode == 0
    assert "597 events, 3 rows rejected" in " ".join(done.stdout.split())


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        (lambda f: f.drop("event_id"), "event_id", "no column"),
        (lambda f: f.drop("version"), "version", "no column"),
        (lambda f: f.drop("ts"), "ts", "no column"),
        (lambda f: f.with_columns(colour=pl.lit("red")), "colour", "not declared"),
        (lambda f: f.with_columns(seq=pl.lit(1)), "seq", "reserved by Assay"),
        (lambda f: f.with_columns(amount=pl.lit("much")), "amount", "number"),
        (lambda f: f.with_columns(amount=pl.col("urgent")), "amount", "number"),
        (lambda f: f.with_columns(urgent=pl.lit(2)), "urgent", "boolean"),
        (lambda f: f.with_columns(said=pl.lit([1, 2])), "said", "string"),
        (lambda f: f.with_columns(ts=pl.col("ts").dt.replace_time_zone(None)), "ts", "zone"),
        (lambda f: f.with_columns(ts=pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S")), "ts", "no zone"),
        (lambda f: f.with_columns(ts=pl.col("ts").dt.epoch("ms")), "ts", "Int64"),
        (lambda f: f.with_columns(ts=pl.lit("yesterdayZ")), "ts", "no row can be used"),
        (lambda f: f[:0], "file", "no rows"),
    ],
)
def test_a_file_that_does_not_fit_the_spec_is_refused_with_the_field(
    tmp_path: Path, change: Any, field: str, word: str
) -> None:
    change(small(20)).write_parquet(tmp_path / "events.parquet")
    with pytest.raises(AppError) as refused:
        read_events(tmp_path / "events.parquet", spec(SMALL, baseline=100), now=NOW)
    assert refused.value.facts["field"] == field
    assert word in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("name", "content"),
    [("events.xlsx", b"x"), ("events", b"x"), ("events.parquet", b"x"), ("events.csv", b""), ("events.jsonl", b"{"),
     ("events.ndjson", b"[1]\n"), ("events.csv", b"\xff\xfe\x00")],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError, match=name.replace(".", r"\.")) as refused:
        read_events(tmp_path / name, spec(SMALL, baseline=100), now=NOW)
    assert "\n" not in refused.value.message


def test_outcomes_that_are_none_are_refused(tmp_path: Path) -> None:
    model = spec(SMALL, baseline=100)
    small(20).select("event_id", "ts", "amount").write_parquet(tmp_path / "o.parquet")
    with pytest.raises(AppError, match="part of the event"):
        read_outcomes(tmp_path / "o.parquet", model, now=NOW)
    small(20).select("event_id", "ts").write_parquet(tmp_path / "o.parquet")
    with pytest.raises(AppError, match="no outcome column"):
        read_outcomes(tmp_path / "o.parquet", model, now=NOW)


def test_infinity_refuses_its_row_and_not_a_number_means_no_value(tmp_path: Path) -> None:
    frame = small(20).with_columns(
        amount=pl.when(pl.int_range(pl.len()) == 3).then(float("inf")).when(pl.int_range(pl.len()) == 4)
        .then(float("nan")).otherwise("amount")
    )  # fmt: skip
    frame.write_parquet(tmp_path / "events.parquet")
    given = read_events(tmp_path / "events.parquet", spec(SMALL, baseline=100), now=NOW)
    assert [(r["line"], r["field"]) for r in given.rejected] == [(4, "amount")]
    assert given.frame["amount"].null_count() == 1
