"""Reference against window, column by column, on the bins and levels of the reference."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from core.errors import AppError
from monitor.detect.findings import MEANINGS, meaning_of
from monitor.profile.block import BlockProfile
from monitor.profile.codec import sum_from_bytes
from monitor.profile.reference_profile import ReferenceProfile
from monitor.reference.block_profiles import labels_between, stored_bytes, stored_slices
from monitor.reference.profile_job import load_profile
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.tables import ReferenceRow, Window
from reports.charts.records import Distribution
from reports.charts.text import short
from reports.wording.phrases import column_words

BINS = 24
MOST = 4  # charts of one window
MAX_SLICES = 40  # segments of a window whose counts are read at a time
SHOWN_WORDS = 3  # of a cluster, next to its number


def changed_columns(window: Window) -> list[str]:
    """Columns the verdict named, the largest change first; those above their floor where none was named."""
    found = window.decision.get("columns") or []
    named = [c for c in found if c.get("alarmed")] or [c for c in found if c.get("above_floor")]
    ranked = sorted(named, key=lambda c: -abs(c.get("t") or 0.0))
    return list(dict.fromkeys(str(c["column"]) for c in ranked))[:MOST]


def distributions(
    site: Site, db: Session, spec: ModelSpec, window: Window, reference: ReferenceRow, columns: Sequence[str],
    *, segment: str = "",
) -> tuple[tuple[Distribution, ...], str | None]:  # fmt: skip
    """Charts of the columns from stored profiles, or none and the reason: the profiles are no longer there.

    Args:
        spec: under which the window was closed; it says how its rows were divided into blocks.
        segment: `column=value`, for the rows of one segment of the window; the reference is always the whole.
    """
    if not columns or reference.artifact is None:
        return (), None
    try:
        baseline = load_profile(site.artifacts.root, reference.artifact)
        current = window_profile(db, spec, window, reference, baseline, segment=segment)
    except AppError as error:
        return (), error.message
    if current is None or not current.rows:
        return (), "the counts of its rows are no longer stored"
    drawn = (_drawn(baseline, baseline.total, current, column) for column in columns)
    return tuple(replace(d, title=column_words(d.title)) for d in drawn if d is not None), None


def window_profile(
    db: Session, spec: ModelSpec, window: Window, reference: ReferenceRow, baseline: ReferenceProfile,
    *, segment: str = "",
) -> BlockProfile | None:  # fmt: skip
    """The counts of a window's rows, the sum of its stored blocks; None where none of them is stored."""
    labels = labels_between(spec, reference, (window.from_seq, window.to_seq), (window.from_ts, window.to_ts))
    parts = stored_bytes(db, reference.id, labels, segment=segment)
    return sum_from_bytes(parts, baseline.coding) if parts else None


def slices_of(
    db: Session, spec: ModelSpec, window: Window, reference: ReferenceRow, baseline: ReferenceProfile
) -> dict[str, BlockProfile]:
    """The counts of the rows of each segment of a window that has stored profiles, by its name."""
    labels = labels_between(spec, reference, (window.from_seq, window.to_seq), (window.from_ts, window.to_ts))
    found = stored_slices(db, reference.id, labels, MAX_SLICES)
    return {name: sum_from_bytes(parts, baseline.coding) for name, parts in found.items()}


def _drawn(baseline: ReferenceProfile, before: BlockProfile, after: BlockProfile, column: str) -> Distribution | None:
    if column in before.numbers:
        edges = baseline.coding.numbers[column].edges
        a, b = before.numbers[column].counts, after.numbers[column].counts
        if len(edges) < 2 or not a.sum() or not b.sum():
            return None
        ends = [
            v for c in (before.numbers[column], after.numbers[column]) for v in (c.minimum, c.maximum) if v is not None
        ]
        if min(ends) >= max(ends):
            return None
        bounds = 2.0 * np.linspace(min(ends) / 2.0, max(ends) / 2.0, BINS + 1)  # the span of huge values overflows
        labels = tuple(short(left) for left in bounds[:-1])
        reference, window = (_shares(_rebinned(counts, edges, bounds)) for counts in (a, b))
        return Distribution(column, "number", labels, reference, window, int(a.sum()), int(b.sum()))
    if column in before.categories:
        kept = baseline.coding.categories[column].kept
        x, y = before.categories[column], after.categories[column]
        names = (*named_levels(baseline, column, kept), "(other or new)", "(missing)")
        counts = [
            np.array([*c.levels, p.rows - c.levels.sum() - c.nulls, c.nulls]) for c, p in ((x, before), (y, after))
        ]
        if not before.rows or not after.rows:
            return None
        return Distribution(column, "category", names, _shares(counts[0]), _shares(counts[1]), before.rows, after.rows)
    return None


def named_levels(baseline: ReferenceProfile, column: str, kept: Sequence[str]) -> list[str]:
    """Readable level names: a cluster of texts is named by its distinctive words, or by its number."""
    if meaning_of(baseline, column) != MEANINGS["cluster"]:
        return list(kept)
    words = baseline.coding.words.get(column.rpartition(".")[0], ())
    found = [words[int(k)] if int(k) < len(words) else () for k in kept]
    return [f"{k}: {', '.join(w[:SHOWN_WORDS])}" if w else f"cluster {k}" for k, w in zip(kept, found, strict=True)]


def _rebinned(counts: NDArray[np.int64], edges: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts of the reference's many unequal bins, gathered into a few equal bins by the middle of each bin.

    The reference keeps one open bin at either end: what lies beyond the reference is in one place.
    """
    ends = np.concatenate([bounds[:1], edges, bounds[-1:]])
    middles = ends[:-1] / 2.0 + ends[1:] / 2.0
    place = np.clip(np.searchsorted(bounds, middles, side="right") - 1, 0, len(bounds) - 2)
    return np.bincount(place, weights=counts, minlength=len(bounds) - 1).astype(np.int64)


def _shares(counts: NDArray[np.int64]) -> tuple[float, ...]:
    return tuple(float(c) / float(counts.sum()) for c in counts)
