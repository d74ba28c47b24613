"""From a window to a queued run: every consideration is recorded, and only one run at a time is started."""

import io
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from core.clock import ManualClock
from core.jobs import ConsiderJob, RunJob
from monitor.service import current_spec
from monitor.site import Site
from monitor.spec.parse import parse_spec
from monitor.tables import Measurement
from retrain import jobs, store
from retrain.curate import service as curation
from retrain.errors import DatasetError, NoPolicyError
from retrain.registry.standing import starter_of
from retrain.runs.consider import start_manual
from retrain.runs.datasets import record_dataset
from retrain.runs.learnable import unlearnable
from retrain.runs.new_classes import new_classes
from retrain.runs.record import close_failed
from retrain.tables import Run, TriggerDecision
from tests.databases import SQLITE_FIRST
from tests.retrain import world
from tests.retrain.train import tiny


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return world.fake_base(tmp_path / "base")


def consider(site: Site) -> TriggerDecision:
    assert isinstance(site.clock, ManualClock)
    site.clock.move_to(site.clock.now() + timedelta(seconds=1))  # so that decisions have an order
    jobs.consider(site, ConsiderJob(model=world.NAME, cause="window"))
    with site.database.read() as db:
        return store.decisions(db, world.model_id(db))[0]


def runs(site: Site) -> list[Run]:
    with site.database.read() as db:
        return list(store.runs(db, world.model_id(db)))


def quiet_then_new(site: Site, clock: ManualClock) -> pl.DataFrame:
    """300 labelled old messages, of which 200 are the baseline, then 150 with new intents that have no outcome yet."""
    world.send(site, world.traffic(300, tiny.OLD), clock)
    late = world.traffic(150, tiny.NEW, first=300)
    world.send(site, late, clock, outcomes=False)
    return late


def test_drift_waits_for_labels_is_recorded_each_time_and_fires_when_they_arrive(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base, min_outcomes=60))
    late = quiet_then_new(site, clock)
    row = world.baseline_ends(site, 200)
    world.window(site, row, 0, "ok")
    assert not consider(site).fired
    world.window(site, row, 1, "alarm")
    waiting = consider(site)
    assert not waiting.fired
    assert "0 labelled events since the alarm began, 60 needed" in waiting.reason
    assert [b["name"] for b in waiting.blocked_by] == ["min_outcomes"]
    world.tell(site, late.head(59), clock)
    assert "59 labelled" in consider(site).reason
    assert not runs(site)
    world.tell(site, late, clock)
    fired = consider(site)
    assert fired.fired
    assert "drifted in text" in fired.reason
    [run] = runs(site)
    assert (run.state, run.decision_id, run.champion_version) == ("queued", fired.id, "v1")
    [job] = world.jobs(site, "retrain.run")
    assert (job.payload, job.lane, job.lock_key) == ({"run_id": str(run.id)}, "train", f"train:{world.NAME}")
    assert world.kinds(site).count("trigger.decision") == 4


def test_a_second_consideration_starts_no_second_run(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base))
    world.send(site, world.traffic(400, tiny.OLD), clock)
    world.window(site, world.baseline_ends(site, 200), 0, "alarm", low_kpi=True)
    first, second = consider(site), consider(site)
    assert (first.fired, second.fired) == (True, False)
    assert "kpi: accuracy" in first.reason
    assert second.blocked_by[0]["name"] == "run_in_progress"
    assert len(runs(site)) == 1


@SQLITE_FIRST
def test_the_cooldown_holds_after_a_run_has_ended(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base, cooldown="2h"))
    world.send(site, world.traffic(400, tiny.OLD), clock)
    world.window(site, world.baseline_ends(site, 200), 0, "alarm")
    assert consider(site).fired
    with site.database.write() as db:
        close_failed(site, db, store.run(db, runs(site)[0].id), "test", "ended")
    clock.move_to(clock.now() + timedelta(minutes=118))
    assert [b["name"] for b in consider(site).blocked_by] == ["cooldown"]
    clock.move_to(clock.now() + timedelta(minutes=2))
    assert consider(site).fired


@SQLITE_FIRST
def test_new_classes_start_a_run_once_there_are_more_than_chance_gives_and_it_concentrates_on_them(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base, when=[{"new_classes": {"per": "1d", "rows": 30}}]))
    late = quiet_then_new(site, clock)
    assert "no labelled row from the champion's own time" in consider(site).reason  # the reference is not there yet
    world.baseline_ends(site, 200)
    calm = consider(site)
    assert "0 of 100 labelled rows of the last 1d are of classes that the champion does not know" in calm.reason
    world.tell(site, late.head(29), clock)
    assert "29 of 129 labelled rows" in consider(site).reason
    world.tell(site, late, clock)
    fired = consider(site)
    assert fired.fired
    assert "150 of 250 labelled rows of the last 1d are of classes that the champion does not know" in fired.reason
    assert "were to be expected, p = " in fired.reason
    [run] = runs(site)
    prepared = curation.prepare(site, run.id)
    assert prepared.curated.facts["focus"]["classes"] == sorted(tiny.NEW)
    assert not consider(site).fired  # while the run is there


@SQLITE_FIRST
def test_a_champion_of_other_inputs_is_not_compared_on_texts_that_it_never_read(
    site: Site, base: Path, clock: ManualClock
) -> None:
    first = world.spec(base, when=[{"new_outcomes": 100}])
    world.declare(site, first)
    world.send(site, world.traffic(300, tiny.OLD), clock)
    world.baseline_ends(site, 200)
    document = dict(first.document)
    channel = {"channel": {"role": "input", "type": "category"}}
    world.declare(site, parse_spec({**document, "columns": {**document["columns"], **channel}}))
    found = consider(site)
    assert not found.fired
    words = "champion v1 was made to read text, and the spec now declares the inputs text, channel"
    assert words in found.reason
    world.declare(site, first)
    assert words not in consider(site).reason


@SQLITE_FIRST
def test_labels_of_an_older_champion_and_of_weights_are_those_that_outcomes_have(
    site: Site, base: Path, clock: ManualClock
) -> None:
    """Composed and decomposed, `True` and true: a version from before levels was stored with its own spellings."""
    when, recipe = [{"new_classes": {"per": "1d", "rows": 30}}], {"class_weights": {"Ku\u0308ndigung": 2.0}}
    world.declare(site, world.spec(base, when=when, recipe=recipe))
    truth = pl.Series("intent_true", ["K\u00fcndigung", "true"] * 30)
    world.send(site, world.traffic(60, tiny.OLD).with_columns(truth), clock)
    with site.database.write() as db:
        champion = store.champion(db, world.model_id(db))
        assert champion is not None
        champion.labels = ["Ku\u0308ndigung", "True"]
    with site.database.read() as db:
        current = current_spec(site, db, world.NAME)
        reading = new_classes(site, db, current)
        assert reading is not None
        assert (reading.rows, reading.unknown) == (60, {})
        assert unlearnable(site, db, current) is None


@SQLITE_FIRST
def test_a_kpi_that_is_estimated_beyond_its_limit_starts_a_run_before_outcomes_confirm_it(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base, when=[{"kpi": "estimated"}]))
    world.send(site, world.traffic(400, tiny.OLD), clock)
    window = world.window(site, world.baseline_ends(site, 200), 0, "alarm", low_kpi=True)
    assert "no kpi with a limit" in consider(site).reason  # the realised one does not count
    with site.database.write() as db:
        db.add(
            Measurement(
                model_id=world.model_id(db), window_id=window, monitor="estimate", metric="accuracy",
                segment="estimated", value=0.7, low=0.66, high=0.74, unit="share", limit=0.8, alarm=True, n=100,
                details={}, from_ts=clock.now(), to_ts=clock.now(), computed_at=clock.now(),
            )
        )  # fmt: skip
    fired = consider(site)
    assert fired.fired
    assert "accuracy of 100 rows is estimated at 0.7 (0.66-0.74), limit 0.8" in fired.reason


@SQLITE_FIRST
def test_a_rejected_run_is_not_started_again_for_the_same_alarm(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base, cooldown="1h"))
    world.send(site, world.traffic(400, tiny.OLD), clock)
    baseline = world.baseline_ends(site, 200)
    world.window(site, baseline, 0, "alarm")
    assert consider(site).fired
    with site.database.write() as db:
        run = store.run(db, runs(site)[0].id, lock=True)
        run.state, run.finished_at = "rejected", clock.now()
    clock.move_to(clock.now() + timedelta(hours=1))
    again = consider(site)
    assert not again.fired
    assert "a run was started for this on 2026-01-05 06:39 UTC, and it fires again once it has cleared" in again.reason
    world.window(site, baseline, 1, "ok")
    assert "no drift in the newest windows" in consider(site).reason
    world.send(site, world.traffic(150, tiny.OLD, first=400), clock)
    world.window(site, baseline, 2, "alarm")
    assert consider(site).fired


@SQLITE_FIRST
def test_a_run_whose_turn_comes_after_the_allowed_hours_waits_for_the_next(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base, allowed_hours={"hours": "00:00-04:00"}))
    world.send(site, world.traffic(200, tiny.OLD), clock)  # until 03:19
    run_id = world.start(site)
    clock.move_to(world.START + timedelta(hours=5))
    put_off = jobs.run(site, RunJob(run_id=run_id))
    assert put_off is not None
    assert put_off.at == world.START + timedelta(days=1)
    waiting = world.read(site, run_id)
    assert (waiting.state, waiting.attempts) == ("queued", 0)
    assert waiting.progress is not None
    assert "waits for the allowed hours, 00:00-04:00 UTC, until 2026-01-06T00:00" in waiting.progress["phase"]


@SQLITE_FIRST
def test_a_cron_tick_fires_once_and_not_again_before_the_next(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base, when=[{"cron": "0 5 * * *"}], cooldown="1m"))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    assert "falls due next" in consider(site).reason
    clock.move_to(world.START + timedelta(hours=29))
    assert consider(site).fired
    with site.database.write() as db:
        close_failed(site, db, store.run(db, runs(site)[0].id), "test", "ended")
    clock.move_to(world.START + timedelta(hours=30))
    assert not consider(site).fired


@SQLITE_FIRST
def test_a_manual_start_names_the_person_and_keeps_their_words_out_of_the_ledger(
    site: Site, base: Path, clock: ManualClock
) -> None:
    world.declare(site, world.spec(base))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    run_id = world.start(site, "ann")
    with site.database.read() as db:
        starter = starter_of(db, store.run(db, run_id))
        assert starter is not None
        assert starter.actor == "ann"
        from governance.ledger.read import ledger_rows

        entries = [row.entry for row in ledger_rows(db, kind="trigger.decision")]
    assert '"actor":"ann"' in entries[0]
    assert "new intents" not in entries[0]


@SQLITE_FIRST
def test_a_recipe_outside_the_envelope_blocks_by_name(site: Site, base: Path, clock: ManualClock) -> None:
    world.declare(site, world.spec(base))
    world.send(site, world.traffic(200, tiny.OLD), clock)
    with site.database.write() as db:
        from monitor import service as monitor

        broken = world.spec(base, recipe={"epochs": -1})
        monitor.apply_spec(site, db, broken, "tester")
        considered = start_manual(site, db, world.NAME, "ann", "try")
    assert considered.run is None
    assert [b["name"] for b in considered.decision.blocked_by] == ["envelope"]
    assert "retrain.recipe.epochs" in considered.decision.reason


@SQLITE_FIRST
def test_a_model_without_a_policy_has_nothing_to_consider(site: Site, base: Path) -> None:
    document = world.spec(base).document | {"retrain": None}
    from monitor.spec.parse import parse_spec

    world.declare(site, parse_spec(document))
    assert jobs.consider(site, ConsiderJob(model=world.NAME, cause="window")) is None
    with site.database.write() as db, pytest.raises(NoPolicyError):
        start_manual(site, db, world.NAME, "ann", "try")


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def test_a_registered_dataset_is_kept_with_its_provenance_and_recorded(site: Site, base: Path) -> None:
    world.declare(site, world.spec(base))
    content = parquet(pl.DataFrame({"text": ["a", "b", None], "label": ["card", "card", "rate"]}))
    with site.database.write() as db:
        row = record_dataset(site, db, world.NAME, "v1", "train", content, "the first export", "ann")
    assert row.rows == 3
    assert row.provenance["labels"] == {"card": 2}
    assert row.provenance["dropped"] == {"text or label missing": 1}
    assert site.artifacts.get(row.digest) == content
    assert world.kinds(site)[-1] == "dataset.registered"


@SQLITE_FIRST
@pytest.mark.parametrize(
    ("role", "content", "words"),
    [
        ("train", b"no parquet", "is not a Parquet file"),
        ("train", parquet(pl.DataFrame({"words": ["a"]})), "has neither column 'text'"),
        (
            "train",
            parquet(pl.DataFrame({"text": ["a"], "label": [None]}, schema_overrides={"label": pl.String})),
            "no row",
        ),
        (
            "gold",
            parquet(pl.DataFrame({"text": ["a"], "label": ["x"]})),
            "choose from train, holdout, golden, reference",
        ),
    ],
)
def test_a_dataset_that_cannot_be_used_is_refused(
    site: Site, base: Path, role: str, content: bytes, words: str
) -> None:
    world.declare(site, world.spec(base))
    with pytest.raises(DatasetError, match=words), site.database.write() as db:
        record_dataset(site, db, world.NAME, "v1", role, content, "x", "ann")
