"""The text encoder."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from core.errors import InsufficientDataError
from monitor.profile.clusters import tokenise
from monitor.profile.text_encoder import COMPONENTS, TextEncoder, fit_text, text_lengths

TEXTS = [
    f"please {verb} my {thing} number {i}"
    for i in range(20)
    for verb in ("block", "open")
    for thing in ("card", "account")
]


def test_same_texts_and_seed_give_the_same_encoder_and_another_order_of_rows_the_same_row_features() -> None:
    a, b = fit_text(TEXTS, seed=1), fit_text(TEXTS, seed=1)
    for name, values in a.arrays().items():
        assert np.array_equal(values, b.arrays()[name]), name
    rows = [*TEXTS[:10], "please block the zebra", "a refund for the giraffe"]
    forward, backward = a.encode(rows), a.encode(rows[::-1])
    assert forward.distance[-2:].min() > 0.1
    # One less a cosine of 32 bits: which lanes of the processor add a row up depends on its place in the batch.
    rounding = 4 * float(np.finfo(np.float32).eps)
    assert np.allclose(forward.distance, backward.distance[::-1], rtol=0, atol=rounding)
    assert np.array_equal(forward.cluster, backward.cluster[::-1])


def test_arrays_give_the_encoder_back() -> None:
    encoder = fit_text(TEXTS, seed=1)
    back = TextEncoder.from_arrays(encoder.arrays())
    assert np.array_equal(back.encode(["block the zebra"]).distance, encoder.encode(["block the zebra"]).distance)


def test_the_share_of_unknown_words_is_counted_by_hand() -> None:
    encoder = fit_text(TEXTS, seed=1)
    assert encoder.unknown(["please block my zebra", "Block my CARD 999", "?!"]).tolist()[:2] == [0.25, 0.0]
    assert np.isnan(encoder.unknown(["?!", None])).all()
    assert encoder.knows("card")
    assert not encoder.knows("zebra")


def test_missing_and_empty_texts_have_no_features() -> None:
    features = fit_text(TEXTS, seed=1).encode([None, "  ", "open my card"])
    assert np.isnan(text_lengths([None, "  ", "open my card"])).tolist() == [True, True, False]
    assert features.cluster.tolist()[:2] == [-1, -1]
    assert features.components.shape == (3, COMPONENTS)


def test_digits_are_read_as_zero() -> None:
    assert tokenise("Paid 12.50 EUR, twice") == ["paid", "0", "0", "eur", "twice"]


def test_one_text_repeated_and_texts_without_latin_letters_can_be_encoded() -> None:
    for texts in (["same thing"] * 60, ["我的卡丢了怎么办"] * 60):
        features = fit_text(texts, seed=0).encode(texts[:3])
        assert np.allclose(features.distance, 0.0, atol=1e-5)


def test_fewer_than_fifty_texts_are_refused_naming_the_column() -> None:
    with pytest.raises(InsufficientDataError, match="'message'"):
        fit_text(["a"] * 49, seed=0, column="message")


def test_messages_of_intents_never_seen_lie_farther_away_than_fresh_messages_of_known_ones(shared_data: Path) -> None:
    data = pl.read_parquet(shared_data / "banking77_train.parquet")
    held = data["category"].unique().sort().to_list()[::5]
    rng = np.random.default_rng(0)
    known = data.filter(~pl.col("category").is_in(held))
    known = known[rng.permutation(known.height)]
    encoder = fit_text(known["text"].to_list()[:3000], seed=0)
    old = encoder.encode(known["text"].to_list()[3000:4000]).distance
    new = encoder.encode(data.filter(pl.col("category").is_in(held))["text"].to_list()[:1000]).distance
    assert roc_auc_score(np.repeat([0, 1], [len(old), len(new)]), np.concatenate([old, new])) > 0.7


def test_a_part_without_rows_is_encoded_as_nothing() -> None:
    encoder = fit_text(TEXTS, seed=1)
    features = encoder.encode([])
    assert (features.distance.shape, features.cluster.shape, features.components.shape) == ((0,), (0,), (0, COMPONENTS))
    assert encoder.unknown([]).shape == (0,)
