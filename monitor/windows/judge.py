"""Judge the rows of one window: the drift decision, and every reading that the verdict rests on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import polars as pl

from monitor.detect.decide import DriftDecision
from monitor.detect.rules import judge
from monitor.detect.wording import describe
from monitor.drift import drift_scores
from monitor.fairness.counts import GroupCounts
from monitor.profile.block import merge_all, without_column
from monitor.profile.design_effect import window_effects
from monitor.reference import block_profiles, profile_job
from monitor.reference.stability import range_in_words
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec import false_alarm_budget
from monitor.spec.model import AUTO_REFERENCE_ROWS, ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.tables import ReferenceRow, Window
from monitor.windows import breakdown, estimates, quality
from monitor.windows.group_counts import counted_rows, fairness_readings
from monitor.windows.outside import OutsideRows, before_windows, outside_sentence
from monitor.windows.readings import Reading, drift_readings, kpi_readings, unjudged_readings
from monitor.windows.reference_gap import gap_sentence, reference_gap
from monitor.windows.stored_levels import with_levels

UNCOMPARED: Final = ("collecting_reference", "reference", "no_reference")  # verdicts without a look at the reference


@dataclass(frozen=True, slots=True)
class DueWindow:
    """A window that can be judged: its place, its times and its rows.

    Attributes:
        number: position of the window within its scale, from 0.
        from_seq, to_seq: sequence numbers of its first row and one past its last.
        frame: the rows in order of arrival.
    """

    scale: str
    number: int
    from_seq: int
    to_seq: int
    from_ts: datetime
    to_ts: datetime
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """What was found about a window.

    Attributes:
        decision: the drift decision as JSON.
        readings: every number.
        outcomes: the window's fields that say which outcomes the numbers include.
        groups: its rows counted by protected group; None for a model without protected columns.
    """

    decision: dict[str, Any]
    readings: list[Reading]
    outcomes: dict[str, int]
    groups: GroupCounts | None


def judge_window(site: Site, current: CurrentSpec, row: ReferenceRow, window: DueWindow) -> JudgedWindow:
    """Judge a window and compute every reading."""
    decision, readings = _judge_drift(site, current, row, window)
    if not window.number and (gap := reference_gap(site, current, row, window.scale)):
        decision |= {"left_over": gap, "sentence": decision["sentence"] + gap_sentence(gap, row)}
    rows = current.spec.monitors.window_lengths
    if isinstance(rows, RowWindow) and window.from_seq == row.windows_seq and (left := before_windows(row, rows.rows)):
        decision["sentence"] += f" {outside_sentence(OutsideRows(left, 0), by_rows=True)}"
    if not window.number and row.rule is not None and decision["verdict"] not in UNCOMPARED:
        decision |= {"sentence": f"{decision['sentence']} A new reference begins: {row.reason}."}
    # Taken before the outcomes are read, so that the next evaluation sees an outcome that arrives in between.
    next_outcome = site.events.extent(current.model.name).next_outcome
    labelled = labelled_rows(site, current, window.frame)
    found, groups = outcome_readings(site, current, row, window, labelled, window.frame)
    outcomes = {"labels": label_count(current.spec, labelled), "next_outcome": next_outcome}
    return JudgedWindow(decision, readings + found, outcomes, groups)


def _judge_drift(
    site: Site, current: CurrentSpec, row: ReferenceRow, window: DueWindow
) -> tuple[dict[str, Any], list[Reading]]:
    """The drift decision of a window as JSON, with the readings it rests on."""

    def not_judged(verdict: str, reason: str) -> tuple[dict[str, Any], list[Reading]]:
        document: dict[str, Any] = {
            "verdict": verdict,
            "p": None,
            "alpha": false_alarm_budget.alpha(current.spec, "drift", window.scale),
            "reason": reason,
            "columns": [],
            "judged": False,
        }
        return document | {"sentence": reason}, unjudged_readings(reason, window.frame.height)

    wanted = current.spec.first_rows
    if row.problem is not None:
        return not_judged("no_reference", f"Drift not judged: the reference could not be fitted: {row.problem}.")
    if row.state == "collecting":
        target = f" of {wanted}" if wanted else f" of about {AUTO_REFERENCE_ROWS:,}" if row.rows_per_day else ""
        seen = window.to_seq - row.from_seq
        return not_judged(
            "collecting_reference", f"Drift not judged: the reference is still being collected ({seen}{target} rows)."
        )
    assert row.artifact is not None
    assert row.to_seq is not None
    empty_before_it_ends = window.frame.is_empty() and row.to_ts is not None and window.from_ts < row.to_ts
    before_it_ends = row.ends_at is not None and window.from_ts < row.ends_at
    if window.from_seq < row.to_seq or empty_before_it_ends or before_it_ends:
        return not_judged("reference", "Drift not judged: these rows belong to the reference itself.")
    reference = profile_job.load_profile(site.artifacts.root, row.artifact)
    labels = block_profiles.labels_between(
        current.spec, row, (window.from_seq, window.to_seq), (window.from_ts, window.to_ts)
    )
    with site.database.read() as db:
        blocks = block_profiles.stored_blocks(db, row.id, reference.coding, labels)
        unencoded = block_profiles.unencoded(db, row.id, labels)
    for column in unencoded:
        reference, blocks = reference.without(column), [without_column(block, column) for block in blocks]
    unencoded_reasons = "; ".join(f"`{column}` is not judged: {reason}" for column, reason in unencoded.items())
    if not reference.columns:
        return not_judged("not_encoded", f"Drift not judged: {unencoded_reasons}.")
    seed = seed_of(row.artifact, window.scale, window.number)
    scores = drift_scores(reference, merge_all(blocks))
    times = window.from_ts, window.to_ts
    volume = quality.volume_of(site, current.spec, row, window.frame, times)
    early = None
    if row.rule == "early":
        person = next(iter(current.spec.with_role("subject")), None)
        early = window_effects(window.frame, reference.coding, person)
    decision = judge(
        current.spec, reference, window.scale, blocks, scores, first=labels.start, seed=seed, volume=volume,
        early=early, instead=range_in_words(row.moved),
    )  # fmt: skip
    readings = drift_readings(decision, scores)
    n = window.frame.height
    readings += [
        Reading("drift", "effect", None, reason, "share of rows", n, column=column)
        for column, reason in unencoded.items()
    ]
    if volume is not None:
        readings.append(quality.volume_reading(volume, false_alarm_budget.alpha(current.spec, "volume", window.scale)))
    units = {name: column.unit for name, column in current.spec.columns.items() if column.unit}
    document = _document(decision, units)
    if unencoded:
        document["sentence"] += f" {unencoded_reasons}."
    return document, readings


def seed_of(artifact: str, scale: str, number: int) -> int:
    """Seed of a window's permutations, the same each time that the window is judged.

    Args:
        artifact: digest of the fitted reference.
    """
    return int.from_bytes(hashlib.sha256(f"{artifact}/{scale}/{number}".encode()).digest()[:4])


def _document(decision: DriftDecision, units: Mapping[str, str]) -> dict[str, Any]:
    document: dict[str, Any] = {f.name: getattr(decision, f.name) for f in fields(decision)}
    document["columns"] = [vars(c) | {"clusters": [vars(share) for share in c.clusters]} for c in decision.columns]
    document["visible"] = [vars(part) for part in decision.visible]
    document |= {"unjudged": list(decision.unjudged), "sentence": describe(decision, units), "judged": decision.judged}
    return document


def outcome_readings(
    site: Site,
    current: CurrentSpec,
    row: ReferenceRow,
    window: DueWindow | Window,
    labelled: pl.DataFrame,
    frame: pl.DataFrame,
) -> tuple[list[Reading], GroupCounts | None]:
    """What is computed again whenever outcomes arrive: KPIs with estimates, data quality, fairness, counts by group.

    Args:
        labelled: rows of the window whose outcome has arrived, with the outcome columns.
        frame: all rows of the window.
    """
    kpis = kpi_readings(current.spec, labelled, frame, window.scale)
    kpis = breakdown.with_agents(site, current, row, window.from_seq, kpis, labelled, frame)
    kpis = estimates.with_estimates(site, current, row, window.from_seq, kpis, labelled, frame)
    kpis += breakdown.slice_readings(current.spec, labelled, frame)
    kpis += quality.quality_readings(site, current, row, window.from_seq, labelled, frame, window.scale)
    counted = counted_rows(current.spec, labelled, frame)
    kpis += fairness_readings(current.spec, counted, window.scale)
    return kpis, None if counted is None else counted.counts


def label_count(spec: ModelSpec, labelled: pl.DataFrame) -> int:
    """How many rows have their label; in a model without a target, any outcome."""
    return labelled.height if spec.target is None else len(labelled[spec.target].drop_nulls())


def labelled_rows(site: Site, current: CurrentSpec, events: pl.DataFrame) -> pl.DataFrame:
    """The events whose outcome has arrived; an outcome column that no row has yet is added as null."""
    frame = with_levels(current.spec, site.events.with_outcomes(current.model.name, events))
    absent = [name for name in current.spec.outcome_columns if name not in frame.columns]
    return frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
