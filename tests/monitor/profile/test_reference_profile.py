"""Reference profiles: bins, levels and bytes."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InsufficientDataError, IntegrityFailureError, InvalidError
from monitor.profile.block import merge_all, profile_block
from monitor.profile.codec import to_bytes
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind, ReferenceProfile

WORDS = ["card", "lost", "pay", "transfer", "cash", "fee", "top", "up", "pin", "rate", "limit", "account"]


def reference(rows: int = 900, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "x": rng.normal(size=rows),
            "few": rng.integers(0, 5, rows),
            "constant": np.full(rows, 3.0),
            "c": rng.choice(["a", "b", "c"], rows),
            "id": [f"user-{i}" for i in range(rows)],
            "text": [" ".join(rng.choice(WORDS, 6)) for _ in range(rows)],
        }
    )


COLUMNS: dict[str, ColumnKind] = {
    "x": "number",
    "few": "number",
    "constant": "number",
    "c": "category",
    "id": "category",
    "text": "text",
}


def test_bytes_give_the_profile_back_and_equal_fits_give_equal_bytes() -> None:
    first = fit_reference(reference(), COLUMNS, blocks=9, seed=3)
    again = fit_reference(reference(), COLUMNS, blocks=9, seed=3)
    data = first.to_bytes()
    assert data == again.to_bytes()
    back = ReferenceProfile.from_bytes(data)
    assert back.to_bytes() == data
    assert back.digest() == first.digest()
    window = reference(100, seed=9)
    assert to_bytes(profile_block(window, back)) == to_bytes(profile_block(window, first))


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04broken"])
def test_bytes_that_are_no_reference_profile_are_an_integrity_failure(data: bytes) -> None:
    with pytest.raises(IntegrityFailureError, match="are not a reference profile"):
        ReferenceProfile.from_bytes(data)


def test_rows_that_fit_the_text_encoder_are_not_profiled() -> None:
    profile = fit_reference(reference(), {"text": "text", "x": "number"}, blocks=10)
    assert profile.rows_for_encoders == 540
    assert profile.rows == 360
    assert len(profile.blocks) == 4


def test_texts_given_for_the_encoder_leave_every_reference_row_to_the_profile() -> None:
    texts = {"text": reference(300, seed=5)["text"].to_list()}
    profile = fit_reference(reference(), {"text": "text"}, blocks=10, encoder_texts=texts)
    assert profile.rows == 900
    assert len(profile.blocks) == 10


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e6))
@settings(max_examples=30, deadline=None)
def test_any_departure_from_a_constant_falls_in_another_bin(value: float, step: float) -> None:
    profile = fit_reference(pl.DataFrame({"x": [value] * 300}), {"x": "number"}, blocks=3)
    at = [
        int(np.argmax(profile_block(pl.DataFrame({"x": [x]}), profile).numbers["x"].counts))
        for x in (value - step, value, value + step)
    ]
    assert len(set(at)) == 3


def test_there_are_at_most_256_bins() -> None:
    profile = fit_reference(reference(5000).select("x"), {"x": "number"}, blocks=5)
    counts = profile.total.numbers["x"].counts
    assert len(counts) <= 256
    assert counts.max() <= 2 * 5000 / 250


def test_levels_with_ten_rows_or_fewer_are_not_watched_by_themselves() -> None:
    frame = pl.DataFrame({"c": ["often"] * 200 + ["eleven"] * 11 + ["ten"] * 10})
    profile = fit_reference(frame, {"c": "category"}, blocks=4)
    assert profile.coding.categories["c"].kept == ("often", "eleven")


def test_a_level_is_unknown_to_the_fold_that_alone_has_it() -> None:
    frame = pl.DataFrame({"c": ["rare", *(["often"] * 99), *(["often"] * 300)]})
    block = fit_reference(frame, {"c": "category"}, blocks=4).blocks[0]
    assert block.categories["c"].unseen.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("values", "columns", "blocks", "message"),
    [
        ([], {"x": "number"}, 1, "no rows"),
        ([1.0], {}, 1, "columns is empty"),
        ([1.0], {"x": "number"}, 2, "blocks is 2"),
        (["a"], {"x": "number"}, 1, "declared number"),
        ([1.0], {"y": "number"}, 1, "'y'"),
        (["a"], {"x": "text"}, 1, "two blocks"),
    ],
)
def test_a_bad_reference_is_refused_naming_what_is_wrong(
    values: list[float | str], columns: dict[str, ColumnKind], blocks: int, message: str
) -> None:
    with pytest.raises(InvalidError, match=message):
        fit_reference(pl.DataFrame({"x": values}), columns, blocks=blocks)


def test_too_few_texts_for_an_encoder_are_refused_with_the_number_needed() -> None:
    with pytest.raises(InsufficientDataError, match="needs 50"):
        fit_reference(reference(40), {"text": "text"}, blocks=4)


def test_vectors_are_fitted_on_one_part_profiled_on_the_rest_and_kept_with_the_profile() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(900, 5)).astype(np.float32).tolist()
    vectors[800] = None
    frame = pl.DataFrame({"v": pl.Series(vectors, dtype=pl.List(pl.Float32)), "x": rng.normal(size=900)})
    profile = fit_reference(frame, {"v": "vector", "x": "number"}, blocks=10)
    assert (profile.rows_for_encoders, profile.rows) == (540, 360)
    assert set(profile.coding.numbers) == {"x", "v.distance", *(f"v.component_{i}" for i in range(4))}
    assert profile.total.numbers["v.distance"].nulls == 1
    assert "missing" in profile.coding.numbers["v.distance"].tests
    assert ReferenceProfile.from_bytes(profile.to_bytes()).to_bytes() == profile.to_bytes()
    a, b = profile_block(frame[600:700], profile), profile_block(frame[700:900], profile)
    whole, merged = profile_block(frame[600:900], profile), merge_all([a, b])
    assert np.array_equal(merged.numbers["v.distance"].counts, whole.numbers["v.distance"].counts)
    assert np.array_equal(merged.categories["v.cluster"].levels, whole.categories["v.cluster"].levels)
    other = frame.with_columns(v=pl.Series([[1.0, 2.0]] * 900, dtype=pl.List(pl.Float32)))
    with pytest.raises(InvalidError, match="'v' has vectors of 2 numbers, but those of the reference have 5"):
        profile_block(other, profile)
    with pytest.raises(InvalidError, match="'v' has type Float64, declared vector"):
        profile_block(frame.with_columns(v=pl.lit(1.0)), profile)


def test_a_text_with_vectors_beside_it_takes_distance_and_clusters_from_them() -> None:
    rng = np.random.default_rng(0)
    vectors = pl.Series("vector", rng.normal(size=(900, 5)).tolist(), dtype=pl.List(pl.Float32))
    texts = reference()
    frame = texts.with_columns(vectors, pl.struct("text", vectors).alias("text"))
    encoded = fit_reference(frame, {"text": "encoded"}, blocks=10)
    plain, alone = (
        fit_reference(texts, {"text": "text"}, blocks=10),
        fit_reference(frame, {"vector": "vector"}, blocks=10),
    )
    assert set(encoded.coding.numbers) == set(plain.coding.numbers)
    for derived, same in (("oov", plain), ("length", plain)):
        name = f"text.{derived}"
        assert np.array_equal(encoded.total.numbers[name].counts, same.total.numbers[name].counts)
    found, expected = encoded.total, alone.total
    assert np.array_equal(found.numbers["text.distance"].counts, expected.numbers["vector.distance"].counts)
    assert np.array_equal(found.categories["text.cluster"].levels, expected.categories["vector.cluster"].levels)
    assert len(encoded.coding.words["text"]) <= len(encoded.coding.vectors["text"].clusters)
