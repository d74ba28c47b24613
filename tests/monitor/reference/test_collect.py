"""Which rows make up the reference: a registered dataset, a range, the first rows; and what is told about them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.clock import ManualClock
from governance.ledger.read import ledger_entries
from monitor import service, store
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.profile.block import equal_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.choose_rows import watched_columns
from monitor.reference.collect import collect
from monitor.reference.notices import notices
from monitor.site import Site
from monitor.tables import Dataset, ReferenceRow
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import BEGIN, document, events_body, rows, spec

pytestmark = SQLITE_FIRST


def declare(site: Site, frame: pl.DataFrame, folder: Path, **monitors: Any) -> tuple[service.CurrentSpec, ReferenceRow]:
    """A model with the frame registered as the dataset `first year`, and its reference collected."""
    frame.write_parquet(folder / "dataset.parquet")
    with site.database.write() as db:
        declared = spec(baseline={"dataset": "first year"}, monitors=document()["monitors"] | monitors)
        service.apply_spec(site, db, declared, "tester")
        current = service.current_spec(site, db, "loans")
        db.add(
            Dataset(
                model_id=current.model.id, name="first year", role="reference", rows=frame.height, provenance={},
                digest=site.artifacts.put_file(folder / "dataset.parquet"), created_at=site.clock.now(),
                created_by="tester",
            )
        )  # fmt: skip
        row = store.newest_reference(db, current.model.id)
    assert row is not None
    collect(site, current, row)
    with site.database.read() as db:
        return current, db.get_one(ReferenceRow, row.id)


def test_its_reference_is_fitted_on_its_rows(site: Site, tmp_path: Path) -> None:
    frame = rows(600)
    current, row = declare(site, frame, tmp_path)
    assert (row.state, row.rows, row.problem, row.from_ts) == ("ready", 600, None, None)
    assert row.artifact is not None
    expected = fit_reference(frame, watched_columns(current.spec), blocks=equal_blocks(600, 25))
    assert ReferenceProfile.from_bytes(site.artifacts.get(row.artifact)).to_bytes() == expected.to_bytes()


@pytest.mark.parametrize(
    ("dropped", "monitors", "said"),
    [("region", {}, "monitored columns region"), ("ts", {"windows": ["1d"]}, "add a column ts")],
)
def test_a_dataset_that_lacks_a_column_is_refused_with_its_name(
    site: Site, tmp_path: Path, dropped: str, monitors: dict[str, Any], said: str
) -> None:
    _, row = declare(site, rows(600).drop(dropped), tmp_path, **monitors)
    assert row.state == "collecting"
    assert said in (row.problem or "")


def test_an_empty_dataset_leaves_the_reference_waiting_and_says_so(site: Site, tmp_path: Path) -> None:
    _, row = declare(site, rows(10).head(0), tmp_path)
    assert row.state == "collecting"
    assert "has 0 rows" in (row.problem or "")


def in_range(site: Site, clock: ManualClock, count: int, days: tuple[int, int], windows: str = "1d") -> ReferenceRow:
    """The reference of a model whose range covers these days of January 2026, when rows of other days arrived."""
    lengths = windows if windows == "auto" else [windows]
    watched = document()["monitors"] | {"windows": lengths, "kpi": [], "fairness": []}
    span = {"from": f"2026-01-{days[0]:02}T00:00:00Z", "to": f"2026-01-{days[1]:02}T00:00:00Z"}
    with site.database.write() as db:
        service.apply_spec(site, db, spec(baseline={"range": span}, monitors=watched), "tester")
    clock.move_to(BEGIN + timedelta(days=31))
    receive(site, "loans", "events", Body(events_body(rows(count, every=timedelta(minutes=6))), NDJSON))
    evaluate(site, "loans")
    with site.database.read() as db:
        found = store.newest_reference(db, store.model(db, "loans").id)
    assert found is not None
    return found


@pytest.mark.parametrize(("days", "have"), [((20, 25), "0 rows"), ((1, 2), None), ((3, 4), "120 rows")])
def test_a_range_that_got_too_few_rows_says_so_with_the_times_that_have_rows(
    site: Site, clock: ManualClock, days: tuple[int, int], have: str | None
) -> None:
    row = in_range(site, clock, 600, days)
    if have is None:
        assert (row.state, row.rows, row.problem) == ("ready", 240, None)
        return
    problem = row.problem or ""
    assert row.state == "collecting"
    assert f"baseline.range from 2026-01-{days[0]:02}T00:00Z" in problem
    assert f"received {have}, and a reference needs at least 201" in problem
    assert "write `baseline: {range: {from: 2026-01-01T00:00Z, to: 2026-01-04T00:00Z}}`" in problem
    with site.database.read() as db:
        newest = store.windows(db, row.model_id)[-1]
    assert newest.decision["verdict"] == "no_reference"
    assert problem in newest.sentence


def test_a_range_says_so_before_window_lengths_are_chosen(site: Site, clock: ManualClock) -> None:
    row = in_range(site, clock, 100, (20, 25), windows="auto")
    assert "received 0 rows" in (row.problem or "")


def test_a_small_dataset_says_so(site: Site, tmp_path: Path) -> None:
    _, row = declare(site, rows(150), tmp_path)
    assert "baseline.dataset 'first year' has 150 rows, and a reference needs at least 201" in (row.problem or "")


def test_a_column_that_moved_within_the_reference_is_told_when_it_is_fitted(site: Site) -> None:
    frame = rows(2000).with_columns(region=pl.when(pl.int_range(2000) < 1200).then(pl.lit("west")).otherwise("region"))
    with site.database.write() as db:
        service.apply_spec(site, db, spec(baseline={"rows": "first 2000"}), "tester")
    receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    evaluate(site, "loans")
    with site.database.read() as db:
        row = store.newest_reference(db, store.model(db, "loans").id)
        (entry,) = ledger_entries(db, ("model.baseline",), subject="model:loans")
        alerts = store.alerts(db, store.model(db, "loans").id)
    assert row is not None
    assert row.moved is not None
    (column,) = row.moved["columns"]
    assert (column["column"], column["detail"]) == ("region", "west")
    assert (column["before"], column["after"], column["low"], column["high"]) == (1.0, 0.0, 0.0, 1.0)
    begins = BEGIN + timedelta(minutes=1200)
    assert row.moved["suggested"] == {"from": f"{begins:%Y-%m-%dT%H:%MZ}", "to": "2026-01-02T09:20Z"}
    (notice,) = notices(row)
    assert notice.kind == "moved"
    assert "`region`: 'west' from 100.0 % to 0.0 % of rows from 01 Jan 2026 20:00 on" in notice.sentence
    assert "`region` between 0.0 % and 100.0 %" in notice.sentence
    assert "Take its last stable stretch" in notice.sentence
    assert "`baseline: {range: {from: 2026-01-01T20:00Z, to: 2026-01-02T09:20Z}}`" in notice.sentence
    assert [m["column"] for m in entry["body"]["moved"]] == ["region"]
    assert "west" not in str(entry["body"])
    assert not alerts  # a notice, which spends no budget
