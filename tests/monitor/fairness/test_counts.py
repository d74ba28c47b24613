"""Counts per group cell: no row is lost, they add up over windows, and any column can be summed out."""

import math

import numpy as np
import polars as pl
import pytest

from core.errors import IntegrityFailureError, InvalidError
from monitor.fairness.counts import GroupCounts, count, merge
from monitor.fairness.counts_codec import decode, decode_merged, encode
from monitor.fairness.grouping import MISSING, Grouping, banded

SEX_AND_AGE = Grouping(("sex", "age"), {"age": (25.0, 40.0)})


def people(rows: int = 500, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "sex": rng.choice(["f", "m"], rows), "age": rng.integers(18, 70, rows).astype(float),
            "answer": rng.choice(["yes", "no"], rows), "truth": rng.choice(["yes", "no"], rows),
            "score": rng.random(rows),
        }
    ).with_columns(
        sex=pl.when(pl.int_range(rows) % 11 == 0).then(None).otherwise("sex"),
        age=pl.when(pl.int_range(rows) % 7 == 0).then(math.nan).otherwise("age"),
        truth=pl.when(pl.int_range(rows) % 3 == 0).then(None).otherwise("truth"),
    )  # fmt: skip


def counted(frame: pl.DataFrame) -> GroupCounts:
    return count(frame, SEX_AND_AGE, prediction="answer", outcome="truth", score="score")


def test_every_row_is_in_one_cell_whatever_it_lacks() -> None:
    rows = people()
    found = counted(rows)
    cells = found.cells(["sex"], "yes")
    assert found.rows == 500
    assert cells.names == (MISSING, "f", "m")
    assert int(cells.n.sum()) == 500
    assert cells.n.tolist() == [rows["sex"].null_count(), *((rows["sex"] == s).sum() for s in "fm")]
    assert int(cells.labelled.sum()) == rows["truth"].drop_nulls().len()
    by_hand = rows.filter(sex="f", answer="yes", truth="yes").height
    assert cells.counts[1, 1, 1] == by_hand


def test_counts_of_windows_add_up_to_those_of_the_period() -> None:
    rows = people()
    parts = [counted(part) for part in rows.iter_slices(123)]
    assert (
        merge(parts)
        .table.drop("score.sum", "score.square")
        .equals(counted(rows).table.drop("score.sum", "score.square"))
    )
    assert merge(parts).table["score.sum"].sum() == pytest.approx(rows["score"].sum())


def test_a_column_is_summed_out_and_bands_are_named() -> None:
    cells = counted(people()).cells(["sex", "age"], "yes")
    assert "sex=f & age=25 to under 40" in cells.names
    assert f"sex=m & age={MISSING}" in cells.names
    assert counted(people()).over(["age"]).rows == 500
    assert banded(pl.Series([17.0, 18.0, None, math.nan, 40.0]), [18, 40]).to_list() == [
        "under 18", "18 to under 40", None, None, "40 and over",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, math.nan])
def test_none_and_nan_are_one_group_of_their_own(value: float | None) -> None:
    frame = pl.DataFrame({"zone": [1.0, 2.0, value, None], "answer": ["yes"] * 4})
    cells = count(frame, Grouping(("zone",)), prediction="answer").cells(["zone"], "yes")
    assert dict(zip(cells.names, cells.n.tolist(), strict=True)) == {MISSING: 2, "1": 1, "2": 1}


def test_no_rows_have_no_cells_and_an_absent_column_is_named() -> None:
    assert counted(people().head(0)).cells(["sex"], "yes").names == ()
    with pytest.raises(InvalidError, match="'gender'"):
        count(people(), Grouping(("gender",)), prediction="answer")
    with pytest.raises(InvalidError, match="at least one window"):
        merge([])
    with pytest.raises(InvalidError, match="ascending"):
        banded(pl.Series([1.0]), [2, 1])


def test_a_score_is_summed_by_group_and_binned() -> None:
    rows = people()
    cells = counted(rows).cells(["sex"], "yes")
    women = rows.filter(sex="f")
    assert cells.sums["score"][1].tolist() == pytest.approx(
        [women.height, women["score"].sum(), (women["score"] ** 2).sum()]
    )
    assert cells.bins[1, :, 0].sum() == women.height
    assert cells.bins[1, :, 1].sum() == women["truth"].drop_nulls().len()
    assert cells.bins[1, :, 3].sum() == women.filter(truth="yes").height


def test_stored_counts_come_back_and_add_up_as_they_are_read() -> None:
    rows = people()
    assert decode(encode(counted(rows))).table.equals(counted(rows).table)
    assert decode(encode(counted(rows.head(0)))).rows == 0
    parts = [counted(part) for part in rows.iter_slices(50)]
    together = decode_merged(encode(part) for part in parts)
    assert together.table.drop("score.sum", "score.square").equals(merge(parts).table.drop("score.sum", "score.square"))
    assert together.table["score.square"].sum() == pytest.approx((rows["score"] ** 2).sum())
    with_less = decode_merged([encode(parts[0]), encode(parts[1].over(["sex"]))])
    assert with_less.over(["age"]).cells(["age"], "yes").names[0] == MISSING
    with pytest.raises(IntegrityFailureError, match="no counts"):
        decode(b"AGC1junk")
