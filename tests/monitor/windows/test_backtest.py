"""The backtest: alarms compared with the budget, policies over the same windows, and real years of traffic."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from api.replay.policies import policies
from api.replay.replay_file import replay_file
from monitor.spec.false_alarm_budget import LIMITS_SHARE, SILENCE_SHARE
from monitor.spec.model import ModelSpec
from tests.api.replay.test_replay import ELEC2, LABEL, NUMBER, OUTCOME, PREDICTION, SHIFT, START, elec2, events, spec
from tests.examples import ALL
from tests.service import assay

COLUMNS = {"amount": NUMBER, "kind": LABEL, "said": PREDICTION, "truth": OUTCOME}
DAYS, CHANGED, EACH = 75, 60, 120


def traffic(
    seed: int, *, days: int = DAYS, changed: int = CHANGED, every: timedelta = timedelta(days=1) / EACH
) -> pl.DataFrame:
    """Days of traffic without serial dependence; amounts and the error rate rise on the day of the change."""
    random = np.random.default_rng(seed)
    n = days * EACH
    late = np.arange(n) >= changed * EACH
    right = random.random(n) > np.where(late, 0.4, 0.1)
    said = random.choice(["yes", "no"], n)
    frame = pl.DataFrame(
        {
            "amount": random.normal(0.0, 1.0, n) + 1.5 * late, "kind": random.choice(["a", "b", "c"], n),
            "said": said, "truth": np.where(right, said, np.where(said == "yes", "no", "yes")),
        }
    )  # fmt: skip
    return events(frame, every=every)


def declared(**monitors: Any) -> ModelSpec:
    budget = {"windows": ["1d", "7d"], "false_alarms": "1 per 30d", **monitors}
    return spec(COLUMNS, baseline=40 * EACH, monitors=budget)


def written(tmp_path: Path, frame: pl.DataFrame, name: str = "events.parquet") -> Path:
    frame.write_parquet(tmp_path / name)
    return tmp_path / name


def without_duration(policy: dict[str, Any]) -> dict[str, Any]:
    return {key: policy[key] for key in ("observed", "episodes", "change")}


# --- the same numbers as a replay of the policy alone -----------------------------------------------------------------

# Of the same windows, of others, and of other blocks; each kind once with each way that labels come.
COMPARED = {
    "with their events": ("row_tests", "windows=1d/3d"),
    "in other blocks": ("alpha=0.05", "windows=12h+alpha=0.02"),
    "two days late": (
        "thresholds:psi=0.2",
        "alpha=0.05",
        "phases=weekday_weekend",
        "windows=7d+false_alarms=2 per 30d",
    ),
}


@pytest.mark.parametrize(
    "labels",
    [
        "with their events",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("in other blocks", "two days late")),
    ],
)
def test_a_policy_judged_from_stored_profiles_gives_the_numbers_of_its_own_replay(tmp_path: Path, labels: str) -> None:
    compared = COMPARED[labels]
    if not ALL:
        compared = compared[-1:]
    frame, late = traffic(1, days=56, changed=48), None
    if labels == "two days late":
        late = written(
            tmp_path, frame.select("event_id", (pl.col("ts") + timedelta(days=2)).alias("ts"), "truth"), "o.parquet"
        )
        frame = frame.drop("truth")
    file, model, changed = written(tmp_path, frame), declared(), START + timedelta(days=48)
    together = replay_file(tmp_path / "together", model, file, late, compare=[",".join(compared)], changed_at=changed)
    assert [p["policy"] for p in together["policies"]] == ["declared", *compared]
    for number, (found, policy) in enumerate(zip(together["policies"], policies(model, compared), strict=True)):
        alone = replay_file(tmp_path / f"alone-{number}", policy.spec, file, late, changed_at=changed)
        assert without_duration(found) == without_duration(alone), policy.name
        assert found["observed"]["alarms"] > 0, policy.name
        assert alone["policies"] == []
    rows = {p["policy"]: p["observed"]["alarms"] for p in together["policies"]}
    assert len(set(rows.values())) > min(len(compared), 2)  # they are different policies


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of one replay of the traffic."""
    folder, model = tmp_path_factory.mktemp("replayed"), declared(kpi=[{"metric": "accuracy", "min": 0.8}])
    return replay_file(folder / "home", model, written(folder, traffic(2)), None)


def test_the_alarms_observed_are_those_of_the_windows(found: dict[str, Any]) -> None:
    for stream in [*found["observed"]["streams"], *found["limits"]]:
        if stream["scale"] == "labels":
            continue
        mine = [w for w in found["windows"] if w["scale"] == stream["scale"]]
        alarmed = [w for w in mine if stream["monitor"] in {a["monitor"] for a in w["alarms"]}]
        assert stream["alarms"] == len(alarmed)
        assert stream["looks"] + sum(stream["not_judged"].values()) == len(mine)
    names = [(s["monitor"], s["scale"]) for s in found["observed"]["streams"]]
    each = [(monitor, scale) for scale in ("1d", "7d") for monitor in ("drift", "quality", "volume")]
    assert names == [*each, ("concept", "labels")]
    assert [(s["monitor"], s["scale"]) for s in found["limits"]] == [
        (monitor, scale) for scale in ("1d", "7d") for monitor in ("kpi", "estimate")
    ]
    # Drift leaves what one scale cannot use to the other. What quality and volume cannot test is not spent; a replay
    # does not judge silence.
    each_scale = {"quality": 0.0125, "volume": 0.025}
    unspent = sum(each_scale.get(s["monitor"], 0.0) for s in found["observed"]["streams"] if not s["looks"])
    assert found["observed"]["budget_per_30d"] == pytest.approx(1.0 - SILENCE_SHARE - LIMITS_SHARE - unspent, rel=0.005)


def test_no_error_stream_uses_labels_before_they_arrive(found: dict[str, Any]) -> None:
    """Rows are stored ahead of the clock; an error stream alarms only once its labels have arrived."""
    changed = START + timedelta(days=CHANGED)
    opened = [datetime.fromisoformat(a["opened_at"]) for a in found["alerts"] if a["monitor"] == "concept"]
    assert opened
    assert all(changed < at < changed + timedelta(days=3) for at in opened)
    told = [e for e in found["episodes"] if e["monitor"] == "concept"]
    assert all(changed < datetime.fromisoformat(e["end"]) < changed + timedelta(days=3) for e in told[:1])


def test_traffic_that_arrives_as_it_happens_is_never_late(tmp_path: Path) -> None:
    """With more rows than one batch holds, the first rows of a batch must not seem to have waited for the last."""
    frame = traffic(4, every=timedelta(days=1) / (5 * EACH))
    frame = pl.concat([frame, frame.with_columns(
        pl.format("again-{}", "event_id").alias("event_id"), pl.col("ts") + timedelta(days=DAYS / 5),
    ), frame.with_columns(
        pl.format("third-{}", "event_id").alias("event_id"), pl.col("ts") + timedelta(days=2 * DAYS / 5),
    )])  # fmt: skip
    model = spec(COLUMNS, baseline=3000, monitors={"windows": ["1d"], "false_alarms": {"alpha": 0.05}})
    found = replay_file(tmp_path / "home", model, written(tmp_path, frame), None)
    assert frame.height > 20_000
    late = [a for w in found["windows"] for a in w["alarms"] if a["metric"] in ("freshness", "label_delay")]
    assert late == []


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_rates_and_policies_for_people_and_one_document_for_machines(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(declared().document))
    (tmp_path / "strict.yaml").write_text("false_alarms: 1 per 90d\n")
    written(tmp_path, traffic(5, days=54, changed=46))
    compared = ("--compare", "row_tests,thresholds:psi=0.2", "--compare", "strict.yaml")
    change = ("--changed-at", (START + timedelta(days=46)).isoformat())
    done = assay("replay", "spec.yaml", "events.parquet", *compared, *change, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [p["policy"] for p in found["policies"]] == ["declared", "row_tests", "thresholds:psi=0.2", "strict"]
    for policy in found["policies"]:
        assert policy["change"]["first_alarm"] is not None
    done = assay("replay", "spec.yaml", "events.parquet", "--compare", "strict.yaml", *change, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in (
        "Alarms compared with the budget (1 per 30d)",
        "Policies over the same windows",
        "Not judged by drift 1d: 40",
    ):
        assert said in done.stdout
    done = assay("replay", "spec.yaml", "events.parquet", "--changed-at", "2026-03-06", cwd=tmp_path)
    assert done.returncode == 2
    assert "'2026-03-06' is not a timestamp with a time zone" in " ".join(done.stderr.split())


# --- real years -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_switching_the_victorian_market_on_alarms_in_its_first_window_and_names_what_changed(
    tmp_path: Path, shared_data: Path
) -> None:
    """Thirteen weeks before the market moved at row 17,424 and one after, through the command."""
    before = 91
    model = spec(ELEC2, baseline=48 * 84, monitors={"windows": ["1d", "7d"], "false_alarms": "1 per 30d"})
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(model.document))
    written(tmp_path, elec2(shared_data, SHIFT - 48 * before, SHIFT + 48 * 7))
    changed = START + timedelta(days=before)
    done = assay(
        "replay", "spec.yaml", "events.parquet", "--changed-at", changed.isoformat(), "--compare",
        "row_tests,thresholds:psi=0.2", "--json", cwd=tmp_path, timeout_s=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    change = found["change"]
    assert (change["before"], change["windows"], change["days"], change["scale"]) == (0, 1, 1.0, "1d")
    assert set(change["columns"]) == {"vicprice", "vicdemand", "transfer"}
    others = {p["policy"]: p["change"]["before"] for p in found["policies"]}
    assert others["declared"] == 0
    assert others["row_tests"] >= 6  # of seven days before the change
    assert others["thresholds:psi=0.2"] >= 7


@pytest.mark.slow
def test_a_year_of_bike_sharing_keeps_its_budget_and_its_seasons_are_no_daily_alarm(
    tmp_path: Path, shared_data: Path
) -> None:
    """The first year is the reference, the second is judged.

    The seasons make days serially dependent, so days are not judged and the weeks have the whole budget. Row tests
    alarm day after day.
    """
    hours = pl.read_parquet(shared_data / "bike_sharing_hourly.parquet").select(
        pl.col("instant").cast(pl.String).alias("event_id"),
        pl.col("timestamp").dt.replace_time_zone("UTC").alias("ts"), pl.lit("v1").alias("version"), "temp", "hum",
        "windspeed", pl.col("weathersit").cast(pl.String), pl.col("casual").cast(pl.Float64).alias("said"),
    )  # fmt: skip
    columns = {
        "temp": NUMBER, "hum": NUMBER, "windspeed": NUMBER, "weathersit": LABEL,
        "said": {"role": "prediction", "type": "number"},
    }  # fmt: skip
    monitors = {"windows": ["1d", "7d"], "false_alarms": "1 per 30d"}
    model = spec(columns, baseline=8645, task="regression", monitors=monitors)
    found = replay_file(tmp_path / "home", model, written(tmp_path, hours), None, compare=["row_tests"])
    declared, tests = ({(s["monitor"], s["scale"]): s for s in p["observed"]["streams"]} for p in found["policies"])
    assert declared["drift", "1d"]["looks"] == 0
    assert declared["drift", "1d"]["not_judged"] == {"reference": 365, "reference_too_short": 366}
    week = declared["drift", "7d"]
    assert week["looks"] == 51
    assert week["judgement"] == "within"
    assert week["budget_per_30d"] == pytest.approx(0.9)
    assert week["per_30d"] < 1.2
    assert found["observed"]["per_30d"] < 1.5
    assert tests["drift", "1d"]["rate"] > 0.9
