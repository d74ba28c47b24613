"""The early rule: its false alarms on independent rows and on bursts, and the changes that it must see."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from monitor.detect.decide import DriftDecision
from monitor.detect.early_rule import early_rule
from monitor.detect.wording import describe
from monitor.profile.block import profile_blocks
from monitor.profile.design_effect import window_effects, with_design_effects
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile

COLUMNS = {"x": "number", "c": "category", "wide": "category", "gaps": "number"}
REFERENCE, WINDOW = 1_000, 200
ALPHA = 0.0267


def independent(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "x": rng.normal(size=rows), "c": rng.choice(["a", "b", "rare"], rows, p=[0.6, 0.39, 0.01]),
            "wide": np.char.add("l", (rng.zipf(1.3, rows) % 5_000).astype(str)),
            "gaps": np.where(rng.random(rows) < 0.03, np.nan, rng.exponential(size=rows)),
        }
    )  # fmt: skip


def bursts(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    found: pl.DataFrame = independent(rng, rows // 25 + 1)[np.repeat(np.arange(rows // 25 + 1), 25)[:rows].tolist()]
    return found


def fitted(frame: pl.DataFrame, person: str | None = None) -> ReferenceProfile:
    labels = np.arange(frame.height) * 20 // frame.height
    profile = fit_reference(frame.select(*COLUMNS), dict(COLUMNS), blocks=labels, parts=4)  # type: ignore[arg-type]
    return with_design_effects(profile, frame, labels, person)


def judged(profile: ReferenceProfile, frame: pl.DataFrame, alpha: float = ALPHA) -> DriftDecision:
    blocks = profile_blocks(frame.select(*COLUMNS), profile, np.arange(frame.height) * 4 // frame.height)
    return early_rule(profile, blocks, alpha=alpha, effects=window_effects(frame, profile.coding, None))


@pytest.mark.parametrize("draw", [independent, bursts])
def test_it_keeps_its_false_alarm_rate(draw: Callable[[np.random.Generator, int], pl.DataFrame]) -> None:
    alarms = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        frame = draw(rng, REFERENCE + 10 * WINDOW)
        profile = fitted(frame[:REFERENCE])
        alarms += [judged(profile, frame[REFERENCE + i * WINDOW :][:WINDOW]).alarmed for i in range(10)]
    assert np.mean(alarms) <= 0.05


def divided(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("x") / 30 + 3)


def new_level(frame: pl.DataFrame) -> pl.DataFrame:
    chosen = pl.Series(np.random.default_rng(1).random(frame.height) < 0.2)
    return frame.with_columns(pl.when(chosen).then(pl.lit("new")).otherwise(pl.col("c")).alias("c"))


def missing(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise(pl.col("gaps")).alias("gaps")
    )


@pytest.mark.parametrize(("change", "column"), [(divided, "x"), (new_level, "c"), (missing, "gaps")])
def test_large_changes_alarm_and_name_their_column(change: Callable[[pl.DataFrame], pl.DataFrame], column: str) -> None:
    rng = np.random.default_rng(5)
    profile = fitted(independent(rng, REFERENCE))
    decision = judged(profile, change(independent(rng, WINDOW)))
    assert decision.verdict == "drift"
    assert [f.column for f in decision.columns if f.alarmed] == [column]


def test_a_quiet_verdict_says_what_it_would_have_shown() -> None:
    rng = np.random.default_rng(6)
    decision = judged(fitted(independent(rng, REFERENCE)), independent(rng, WINDOW))
    assert decision.verdict == "no_evidence"
    shown = {part.column: part.change for part in decision.visible}
    assert 0.2 < shown["x"] < 1.0
    assert 0.1 < shown["c"] < 0.35


def test_bursts_and_people_who_send_many_rows_count_once() -> None:
    rng = np.random.default_rng(7)
    assert max(fitted(independent(rng, REFERENCE)).design_effects.values()) < 5
    assert min(fitted(bursts(rng, REFERENCE)).design_effects.values()) > 50
    one_each = independent(rng, 200)
    scattered = one_each[rng.integers(0, 200, REFERENCE).tolist()]
    people = scattered.with_columns(pl.Series("who", np.unique(scattered["x"], return_inverse=True)[1]).cast(pl.String))
    assert fitted(people, person="who").design_effects["x"] > fitted(people).design_effects["x"] + 2


def test_the_rows_of_one_session_are_not_enough_data() -> None:
    rng = np.random.default_rng(8)
    decision = judged(fitted(bursts(rng, REFERENCE)), bursts(rng, WINDOW))
    assert decision.verdict == "not_enough_data"
    assert "come in bursts" in decision.reason


def test_a_quiet_verdict_names_a_column_whose_rows_come_in_bursts() -> None:
    rng = np.random.default_rng(10)
    frame = independent(rng, REFERENCE + WINDOW)
    frame = frame.with_columns(x=pl.Series(np.repeat(rng.normal(size=24), 50)))
    decision = judged(fitted(frame[:REFERENCE]), frame[REFERENCE:])
    assert decision.verdict == "no_evidence"
    assert "x" not in {part.column for part in decision.visible}
    assert "Not visible: x, because its rows come in bursts." in describe(decision)


def test_the_design_effects_are_stored_with_the_reference() -> None:
    profile = fitted(independent(np.random.default_rng(9), REFERENCE))
    again = ReferenceProfile.from_bytes(profile.to_bytes())
    assert again.design_effects == profile.design_effects
