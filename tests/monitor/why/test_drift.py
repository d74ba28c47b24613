"""What tells a window from its reference: each kind of column, what is set aside, and nothing where chance rules."""

import warnings
from datetime import UTC, datetime, timedelta

import lightgbm
import numpy as np
import polars as pl
import pytest

from monitor.why import classifier
from monitor.why.classifier import ROUNDS, ResidualError, Table, told_apart
from monitor.why.columns import Kind, usable
from monitor.why.cuts import Shares, cuts_of, number_shares
from monitor.why.drift import DriftFinding, Driver, find_drift
from monitor.why.separation import Area, area, grouped
from monitor.why.wording import drift_sentence

START = datetime(2026, 1, 5, tzinfo=UTC)
KINDS: dict[str, Kind] = {
    "amount": "number", "rating": "number", "channel": "category", "ok": "category", "text": "text", "vec": "vector",
    "city": "category", "same": "category", "empty": "number",
}  # fmt: skip
WORDS = ("please block my card", "which rate applies abroad", "top up not arrived yet", "change the address today")


def rows(count: int, seed: int, *, first: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    amount = rng.gamma(2, 400, count)
    return pl.DataFrame({
        "event_id": [f"e{first + i}" for i in range(count)],
        "ts": [START + timedelta(minutes=10 * (first + i)) for i in range(count)],
        "amount": [None if missing else float(a) for a, missing in zip(amount, rng.random(count) < 0.1, strict=True)],
        "rating": rng.integers(1, 6, count).astype(float), "channel": rng.choice(["app", "web", "phone"], count),
        "ok": rng.choice([True, False], count),
        "text": [" ".join(rng.permutation(WORDS[int(k)].split())) for k in rng.integers(0, 4, count)],
        "vec": [row.tolist() for row in rng.normal(size=(count, 8))],
        "city": [f"city {int(k)}" for k in rng.zipf(1.3, count) % 2000], "same": ["x"] * count,
        "empty": pl.Series([None] * count, dtype=pl.Float64),
        "counter": [float(7 * (first + i)) for i in range(count)],
        "order": [f"order-{first + i:06d}" for i in range(count)],
        "weekday": [(START + timedelta(minutes=10 * (first + i))).weekday() * 1.0 for i in range(count)],
        "who": [f"p{int(k)}" for k in rng.integers(0, 500, count)],
    })  # fmt: skip


REFERENCE = rows(1500, 1)
NULL_WINDOWS = 100


def found(window: pl.DataFrame, **kinds: Kind) -> DriftFinding:
    return find_drift(REFERENCE, window, kinds or KINDS, parts=("channel",), person="who")


def test_without_a_change_nothing_is_named_and_the_sentence_says_so() -> None:
    quiet = found(rows(400, 2, first=1500))
    assert not quiet.drivers
    assert not quiet.examples
    assert drift_sentence(quiet).startswith("No input tells the window from the reference (area under the ROC curve 0.")
    assert {one.column: one.reason for one in quiet.set_aside} == {
        "same": "it has one value in all rows", "empty": "no row has a value",
    }  # fmt: skip
    few = found(rows(12, 3, first=1500))
    assert drift_sentence(few) == (
        "No input tells the window from the reference: 12 rows are too few to say, 30 are needed on each side."
    )


OFTEN = pl.int_range(pl.len()) % 3 == 0  # every third row
CHANGES = {
    "amount": (pl.col("amount") * 3, "`amount` > 1,"),
    "missing": (pl.when(~OFTEN).then("amount").alias("amount"), "`amount` has no value in 40 % of rows"),
    "rating": (pl.when(OFTEN).then(5.0).otherwise("rating").alias("rating"), "`rating` = 5 in "),
    "channel": (
        pl.when(OFTEN).then(pl.lit("kiosk")).otherwise("channel").alias("channel"), "`channel` = 'kiosk' in 34 % of r"
    ),
    "ok": (pl.lit(value=True).alias("ok"), "`ok` = 'true' in 100 % of rows"),
    "vec": (pl.col("vec").list.eval(pl.element() + 1.0), "`vec` as a whole."),
    "text": (
        pl.when(OFTEN).then(pl.format("{} crypto wallet", "text")).otherwise("text").alias("text"),
        "`text` has more texts with `crypto` (34 %, before 0 %), `wallet` (34 %, before 0 %)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    ["amount", "text", *(pytest.param(n, marks=pytest.mark.slow) for n in CHANGES if n not in ("amount", "text"))],
)
def test_a_change_is_named_by_its_column_with_its_values_or_words(change: str) -> None:
    expression, words = CHANGES[change]
    changed = found(rows(400, 4, first=1500).with_columns(expression))
    assert changed.drivers[0].column == {"missing": "amount"}.get(change, change)
    assert drift_sentence(changed).startswith(f"What changed most: {words}")
    assert len(changed.examples) in range(1, 6)
    assert changed.residual is not None
    assert changed.residual < 1e-9


def test_clocks_counters_keys_and_calendar_columns_are_set_aside_and_say_why() -> None:
    kinds: dict[str, Kind] = {"counter": "number", "order": "category", "weekday": "number", "amount": "number"}
    kept, aside = usable(REFERENCE, rows(400, 5, first=1500), kinds)
    assert kept == {"amount": "number"}
    assert {one.column: one.reason.split(",")[0] for one in aside} == {
        "counter": "it grows with time in the reference already",
        "order": "it grows with time in the reference already",
        "weekday": "it follows the weekday of the row",
    }  # fmt: skip


def test_a_word_or_level_that_fewer_than_five_people_use_is_never_told() -> None:
    window = rows(400, 6, first=1500).with_columns(
        who=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("ada")).otherwise("who"),
        text=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.format("{} xylophone", "text")).otherwise("text"),
        channel=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("harpsichord")).otherwise("channel"),
    )
    texts, levels = found(window, text="text"), found(window, channel="category")
    assert drift_sentence(texts) == "What changed most: `text`, in no word that several people use."
    assert levels.drivers[0].values[0].value == "= any other value"
    assert "xylophone" not in repr(texts)
    assert "harpsichord" not in repr(levels)


def test_texts_without_spaces_are_told_by_their_words() -> None:
    rng, known = (
        np.random.default_rng(0),
        ("卡片丢失", "请冻结", "汇率是多少", "更改地址", "转账没有到账", "谢谢", "你好", "今天"),
    )
    before, after = ([" ".join(rng.permutation(known)[:4]).replace(" ", "") for _ in range(n)] for n in (1500, 200))
    window = rows(200, 7, first=1500).with_columns(
        text=pl.Series([text + "加密货币钱包" if i % 2 else text for i, text in enumerate(after)])
    )
    told = find_drift(REFERENCE.with_columns(text=pl.Series(before)), window, {"text": "text"})
    named = told.drivers[0].words
    assert any(w.word in "加密货币钱包" and w.window > 0.1 for w in named), named
    assert all({*w.word} & {*"加密货币钱包"} for w in named if w.window > w.reference), named


def test_attributions_are_those_of_shap_and_are_refused_where_they_do_not_add_up() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 3))
    side = np.arange(600) >= 300
    features[side, 0] += 1.0
    model = classifier._fit(features, side, 3, 0, 0)
    ours = np.asarray(model.predict(features, pred_contrib=True))[:, :-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matplotlib, which shap imports, and of shap
        import shap

        theirs = np.asarray(shap.TreeExplainer(model).shap_values(features))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    table = Table({name: features[:, i] for i, name in enumerate("abc")}, {}, {})
    with pytest.raises(ResidualError, match="miss the margin"):
        told_apart(table, grouped(300, 300, folds=5, seed=0), seed=0, tolerance=0.0)
    assert isinstance(model, lightgbm.Booster)
    assert model.num_trees() == ROUNDS


def test_cut_points_are_those_of_the_reference_and_read_well() -> None:
    reference = np.random.default_rng(0).gamma(2, 400, 5000)
    cuts = cuts_of(reference)
    assert cuts == cuts_of(reference)
    assert all(len(name.replace(",", "")) <= 14 for name in cuts.names)
    shares = {s.value: s for s in number_shares(cuts, reference, np.concatenate([reference * 2, [np.nan]]))}
    assert shares["no value"].window == pytest.approx(1 / 5001)
    few = cuts_of(np.repeat([1.0, 2.0, 3.0], 10))
    assert [s.reference for s in number_shares(few, np.array([1.0, 3.0]), np.array([2.0]))] == [0, 0, 0.5, 0, 0.5, 0]
    assert cuts_of(np.full(9, np.nan)).points == ()


def test_the_area_is_that_of_a_mann_whitney_test_and_its_interval_wider_for_rows_in_bursts() -> None:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    score = np.concatenate([rng.normal(size=400), rng.normal(0.5, size=300)])
    groups = grouped(400, 300, folds=1, seed=0)
    expected = mannwhitneyu(score[400:], score[:400]).statistic / (400 * 300)
    independent = area(score, groups)
    assert independent.value == pytest.approx(expected)
    bursts = np.concatenate([np.repeat(rng.normal(size=20), 20), np.repeat(rng.normal(0.5, size=20), 15)])
    wide = area(bursts, groups)
    assert wide.high - wide.low > 2 * (independent.high - independent.low)


@pytest.mark.slow
@pytest.mark.parametrize("burst", [1, 10])
def test_windows_without_drift_name_something_as_rarely_as_is_said(burst: int) -> None:
    """Rows as they come, and bursts of ten rows that are alike, such as those of one session."""
    kinds: dict[str, Kind] = {name: kind for name, kind in KINDS.items() if name not in ("vec", "city")}
    named = 0
    for i in range(NULL_WINDOWS):
        sides = [rows(n // burst, s, first=f) for n, s, f in ((400, 100 + 2 * i, 0), (200, 101 + 2 * i, 400))]
        before, after = (side[np.repeat(np.arange(side.height), burst)] for side in sides)
        named += bool(find_drift(before, after, kinds).drivers)
    print(f"\nbursts of {burst}: {named} of {NULL_WINDOWS} windows without drift name something")
    assert named <= NULL_WINDOWS * 0.05 + 3  # 2.5 % are expected


@pytest.mark.parametrize("column", ["text", "vec"])
def test_texts_and_vectors_that_are_absent_are_what_changed(column: str) -> None:
    window = rows(400, 2, first=1500)
    without = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col(column)).alias(column)
    said = drift_sentence(found(window.with_columns(without), **{column: KINDS[column]}))
    assert said == f"What changed most: `{column}` has no value in 50 % of rows, 0 % in the reference, large."


def test_a_driver_is_said_with_its_unit_its_size_and_no_share_that_chance_explains() -> None:
    apart = Area(0.9, 0.88, 0.92)
    far = Driver("income", "number", 0.8, (Shares("> 3.1 million", 0.053, 0.91, 900),))
    none = Driver("amount", "number", 0.2, (Shares("> 500", 0.49, 0.46, 700),))
    told = drift_sentence(DriftFinding(1000, 500, apart, (far, none)), {"income": "EUR"})
    words = "`income` > 3.1 million EUR in 91 % of rows, 5.3 % in the reference, large."
    assert told == f"What changed most: {words}"
    assert drift_sentence(DriftFinding(1000, 500, apart, (none,))) == "What changed most: `amount` as a whole."
    assert cuts_of(np.linspace(2e6, 4e6, 101)).names[-1] == "> 4 million"


def test_numbers_at_the_ends_of_what_a_float_holds_have_cut_points() -> None:
    cuts = cuts_of(np.linspace(-1.0, 1.0, 101) * 1.7e308)
    assert 1 <= len(cuts.points) == len(cuts.names) - 1
    assert np.isfinite(cuts.points).all()
