"""The decision rule on customer messages: new kinds of request, and the words for what was found."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from monitor.detect.decide import DriftDecision, decide
from monitor.detect.findings import MEANINGS, ClusterShare, ColumnFinding
from monitor.detect.wording import describe, edge
from monitor.profile.block import BlockProfile, equal_blocks, profile_coded
from monitor.profile.coding import CodedColumns, coded_columns
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ColumnKind, ReferenceProfile
from tests.monitor.detect.test_decide import most


@dataclass(frozen=True)
class Stream:
    """Messages of known intents as they might arrive (in simulated order), then messages of 17 intents held out.

    All are coded once; windows are drawn from the codes, which is what profiling their rows gives.
    """

    profile: ReferenceProfile
    coded: CodedColumns
    known: int
    rows: int

    def window(self, rng: np.random.Generator, share_new: float, rows: int = 500) -> tuple[BlockProfile, ...]:
        new = round(share_new * rows)
        old = rng.choice(self.known, rows - new, replace=False)
        drawn = rng.permutation(
            np.concatenate([old, self.known + rng.choice(self.rows - self.known, new, replace=False)])
        )
        coded = CodedColumns(
            {name: values[drawn] for name, values in self.coded.numbers.items()},
            {name: codes[drawn] for name, codes in self.coded.categories.items()},
            self.coded.new,
        )
        return profile_coded(coded, self.profile.coding, equal_blocks(rows, 50), rows // 50)


COLUMNS: dict[str, ColumnKind] = {"text": "text", "intent": "category", "confidence": "number"}


def banking_stream(folder: Path, seed: int) -> Stream:
    """1,500 reference rows; the text encoder and a classifier are fitted on 5,000 earlier training rows.

    A linear support vector machine stands in for the monitored model; its largest margin is the confidence.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(seed)
    data = pl.concat([pl.read_parquet(folder / f"banking77_{part}.parquet") for part in ("train", "test")])
    held = rng.choice(data["category"].unique().sort().to_list(), 17, replace=False).tolist()
    data = data[rng.permutation(data.height)]
    known, new = data.filter(~pl.col("category").is_in(held)), data.filter(pl.col("category").is_in(held))
    training = known.head(5000)
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(training["text"].to_list())
    model = LinearSVC(random_state=seed).fit(
        vectors.transform(training["text"].to_list()), training["category"].to_numpy()
    )

    def answered(frame: pl.DataFrame) -> pl.DataFrame:
        margins = model.decision_function(vectors.transform(frame["text"].to_list()))
        return frame.with_columns(
            pl.Series("intent", model.classes_[margins.argmax(axis=1)].astype(str)),
            pl.Series("confidence", margins.max(axis=1)),
        )

    later = answered(known[5000:8500])
    profile = fit_reference(
        later.head(1500),
        COLUMNS,
        blocks=equal_blocks(1500, 50),
        seed=seed,
        encoder_texts={"text": training["text"].to_list()},
    )
    stream = pl.concat([later[1500:3500], answered(new.head(1000))])
    return Stream(profile, coded_columns(stream, profile.coding), 2000, stream.height)


@pytest.fixture(scope="module")
def streams(shared_data: Path) -> list[Stream]:
    return [banking_stream(shared_data, seed) for seed in range(2)]


def test_a_fifth_of_new_intents_is_found_in_nine_of_ten_windows_and_three_tenths_in_nearly_all(
    streams: list[Stream],
) -> None:
    rng = np.random.default_rng(7)

    def found(share_new: float, windows: int) -> float:
        drawn = [(stream.profile, stream.window(rng, share_new)) for stream in streams for _ in range(windows)]
        return float(np.mean([decide(profile, window, alpha=0.01).alarmed for profile, window in drawn]))

    assert found(0.2, 60) >= 0.9
    assert found(0.3, 30) >= 0.98


def test_windows_of_known_intents_stay_quiet(streams: list[Stream]) -> None:
    rng = np.random.default_rng(8)
    alpha, runs = 0.01, 25
    alarms = np.array(
        [
            [decide(stream.profile, stream.window(rng, 0.0), alpha=alpha, seed=5 * k + i).alarmed for i in range(5)]
            for stream in streams
            for k in range(runs)
        ]
    )
    assert alarms.mean() <= most(alpha, alarms.size)
    quiet_runs = 1 - alarms.any(axis=1).mean()
    expected = (1 - alpha) ** 5
    assert quiet_runs >= expected - 3 * math.sqrt(expected * (1 - expected) / len(alarms))


@pytest.mark.parametrize(
    ("column", "effect", "words"),
    [
        ("text.oov", "mean", "`text`: new vocabulary or typos (mean share of unknown words from 0.03 to 0.09)"),
        (
            "text.distance",
            "mean",
            "`text`: new kind of request (mean distance to the nearest known ones from 0.03 to 0.09)",
        ),
        (
            "text.cluster",
            "share",
            "`text`: mix of known requests changed (those about card, lost: from 3.0 % to 9.0 % of rows, small; "
            "cluster 2: from 5.0 % to 1.0 % of rows, small)",
        ),
        (
            "text.oov",
            "share_below",
            "`text`: new vocabulary or typos (share of unknown words: values up to 7: from 3.0 % to 9.0 % of "
            "rows, small)",
        ),
        ("text.component_1", "mean", "`text`: wording moved (component 1: mean from 0.03 to 0.09)"),
        ("text.length", "missing", "`text.length`: missing values: from 3.0 % to 9.0 % of rows, small"),
        ("text.length", "mean", "`text`: length changed (mean characters from 0.03 to 0.09)"),
        ("amount", "missing", "`amount`: missing values: from 3.0 % to 9.0 % of rows, small"),
        ("channel", "unseen", "`channel`: values never seen before: from 3.0 % to 9.0 % of rows, small"),
        ("v1.score", "mean", "`v1.score`: mean from 0.03 to 0.09"),
    ],
)
def test_the_words_say_what_kind_of_change_was_found(column: str, effect: str, words: str) -> None:
    finding = ColumnFinding(
        column=column,
        kind="number",
        effect=effect,
        detail="7",
        value=0.06,
        reference=0.03,
        current=0.09,
        unit="",
        t=9.0,
        adjusted_p=0.001,
        alarmed=True,
        above_floor=True,
        visible_change=None,
        meaning=MEANINGS.get(column.rpartition(".")[2], "wording moved") if column.startswith("text.") else None,
        clusters=(ClusterShare("7", ("card", "lost"), 0.03, 0.09), ClusterShare("2", (), 0.05, 0.01)),
    )
    decision = DriftDecision("drift", 0.001, 0.01, (finding,), (), 1500, 500, 30, 10, 1000, "")
    assert describe(decision) == f"Drift: {words}."


def test_new_intents_are_described_as_a_new_kind_of_request(streams: list[Stream]) -> None:
    decision = decide(streams[0].profile, streams[0].window(np.random.default_rng(1), 0.5), alpha=0.01)
    assert {"text.distance", "confidence"} <= {f.column for f in decision.columns if f.alarmed}
    assert "new kind of request" in describe(decision) or "confidence" in describe(decision)


def test_edges_and_rare_values_are_told_in_plain_words() -> None:
    assert (edge("7"), edge("2.38419e-07"), edge("0.12345678")) == ("7", "about 0 (2.4e-07)", "0.123")
    finding = ColumnFinding(
        "plan", "category", "other", None, 0.5, 0.0, 0.535, "share of rows", 9.0, 0.001, True, True, None
    )
    decision = DriftDecision("drift", 0.001, 0.01, (finding,), (), 1500, 500, 30, 10, 1000, "")
    assert "values that were rare in the reference, or new: from 0.0 % to 53.5 %" in describe(decision)
