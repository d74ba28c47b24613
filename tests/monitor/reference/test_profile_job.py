"""The slices of all blocks are counted together, and each has the profile that it would have by itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.artifacts import ArtifactStore
from core.cache import Cache
from monitor.profile.block import profile_block
from monitor.profile.codec import to_bytes
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.encode import Encoding
from monitor.reference.profile_job import MAX_SEGMENT_VALUES, BlockRange, profile_rows
from tests.examples import examples

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
QUARTER = 21_600


def traffic(rows: int, seed: int, shops: int, missing: float) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "seq": np.arange(rows), "version": random.choice(["v1", "v2", "v3"], rows, p=[0.6, 0.3, 0.1]),
            "ts": [BEGIN + timedelta(hours=int(h)) for h in random.integers(0, 24 * 12, rows)],
            "amount": np.where(random.random(rows) < missing, np.nan, random.normal(size=rows)),
            "name": [f"n{i}" for i in random.integers(0, 400, rows)],
            "shop": [None if random.random() < missing else f"s{i}" for i in random.integers(0, shops, rows)],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, ReferenceProfile]:
    rows = traffic(2_000, 1, 4, 0.05)
    fitted = fit_reference(rows, {"amount": "number", "name": "category", "shop": "category"}, blocks=20)
    folder = tmp_path_factory.mktemp("artifacts")
    return folder, ArtifactStore(folder).put(fitted.to_bytes()), fitted


@given(st.integers(0, 600), st.integers(0, 10_000), st.integers(1, 40), st.floats(0.0, 0.5))
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_slice_has_the_profile_of_its_rows(
    reference: tuple[Path, str, ReferenceProfile], rows: int, seed: int, shops: int, missing: float
) -> None:
    folder, digest, fitted = reference
    frame = traffic(rows, seed, shops, missing)
    first = int(BEGIN.timestamp()) // QUARTER
    blocks = BlockRange(
        bounds={}, labels=range(first, first + 48), windows=("1d",), from_seq=0, segments=("shop",), artifacts=folder,
        reference=digest, encoding=Encoding({}, folder, 1, "cpu"),
    )  # fmt: skip
    found = profile_rows(blocks, frame.lazy(), Cache())
    expected = []
    labelled = frame.with_columns((pl.col("ts").dt.epoch("s") // QUARTER).alias("label"))
    for label, of_block in sorted(labelled.group_by("label", maintain_order=True), key=lambda part: part[0]):
        slices = [("", "", of_block)]
        for column in ("version", "shop"):
            counted = of_block[column].drop_nulls().value_counts().sort("count", column, descending=[True, False])
            for value in counted[column][:MAX_SEGMENT_VALUES]:
                names = (value, "") if column == "version" else ("", f"shop={value}")
                slices.append((*names, of_block.filter(pl.col(column) == value)))
        expected += [(label[0], v, s, part.height, to_bytes(profile_block(part, fitted))) for v, s, part in slices]
    assert [(b.label, b.version, b.segment, b.rows, b.data) for b in found] == expected
