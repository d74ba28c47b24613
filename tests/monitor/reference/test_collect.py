"""A registered dataset as the reference."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from monitor import service, store
from monitor.profile.block import equal_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.choose_rows import watched_columns
from monitor.reference.collect import collect
from monitor.site import Site
from monitor.tables import Dataset, ReferenceRow
from tests.databases import SQLITE_FIRST
from tests.monitor.traffic import document, rows, spec

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


def test_an_empty_dataset_leaves_the_reference_waiting(site: Site, tmp_path: Path) -> None:
    _, row = declare(site, rows(10).head(0), tmp_path)
    assert row.state == "collecting"
