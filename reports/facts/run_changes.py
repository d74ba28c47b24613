"""What a run trained otherwise than its champion was trained: rows, labels, sources, recipe, base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from core.errors import AppError
from monitor.site import Site
from monitor.tables import Dataset
from reports.paths import without_paths
from retrain.tables import ModelVersion, Run

MOST_ROWS: Final = 500_000  # of either set; larger ones are compared by their counts alone
MOST_CLASSES: Final = 40  # listed, those that changed most first


@dataclass(frozen=True, slots=True)
class RowsOf:
    """Rows of one class, source or reason, in the champion's training set and in this run's."""

    name: str
    before: int
    now: int
    added: int | None = None  # rows that are only in this run's set; None where rows were not compared
    removed: int | None = None

    @property
    def change(self) -> int:
        return self.now - self.before


@dataclass(frozen=True, slots=True)
class Changed:
    """One key that differs; empty text where a side has none."""

    key: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class DataChange:
    """Rows of the training sets. `why_not` says why they were not compared one by one."""

    before: int
    now: int
    added: int | None
    removed: int | None
    why_not: str
    classes: tuple[RowsOf, ...]
    classes_left: int
    sources: tuple[RowsOf, ...]
    dropped: tuple[RowsOf, ...]
    periods: tuple[str, str]


def data_change(site: Site, before: Dataset | None, now: Dataset | None) -> DataChange | None:
    """None where this run has no training set (yet)."""
    if now is None:
        return None
    old = {} if before is None else before.provenance
    new, why, added = now.provenance, "", dict[str, int]()
    removed, both = dict[str, int](), None
    if before is None:
        why = "the champion has no training set here"
    elif max(before.rows, now.rows) > MOST_ROWS:
        why = f"a set of more than {MOST_ROWS:,} rows is compared by its counts alone"
    else:
        try:
            paths = (site.artifacts.path(before.digest), site.artifacts.path(now.digest))
            both = compared_rows(*paths)
        except (AppError, OSError):
            why = "rows were not compared one by one: the file of one of the sets is not there any more"
        if both is not None:
            added, removed, why = dict(both.added), dict(both.removed), both.why
    known = both is not None and not both.why
    classes = _rows_of(old.get("labels"), new.get("labels"), added if known else None, removed if known else None)
    classes.sort(key=lambda one: (-abs(one.change), -(one.added or 0) - (one.removed or 0), one.name))
    return DataChange(
        0 if before is None else before.rows, now.rows, both.rows_added if known and both else None,
        both.rows_removed if known and both else None, why, tuple(classes[:MOST_CLASSES]),
        max(0, len(classes) - MOST_CLASSES),
        tuple(_rows_of(_sources(old), _sources(new))), tuple(_rows_of(old.get("dropped"), new.get("dropped"))),
        (_period(old), _period(new)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ComparedRows:
    """Rows that are only in one of two sets, in all and by class."""

    rows_added: int = 0
    rows_removed: int = 0
    added: tuple[tuple[str, int], ...] = ()
    removed: tuple[tuple[str, int], ...] = ()
    why: str = ""


@lru_cache(maxsize=64)
def compared_rows(before: Path, now: Path) -> ComparedRows:
    """Compare two registered sets by the ids of their rows. An artifact never changes, so neither does this."""
    import polars as pl  # slow to import

    try:
        old, new = (pl.read_parquet(path, columns=["row_id", "label"]) for path in (before, now))
    except (pl.exceptions.PolarsError, OSError) as error:
        return ComparedRows(why=f"rows were not compared, for a set cannot be read: {type(error).__name__}")
    added, removed = new.join(old, on="row_id", how="anti"), old.join(new, on="row_id", how="anti")
    return ComparedRows(added.height, removed.height, _by_label(added["label"]), _by_label(removed["label"]))


def _by_label(labels: Any) -> tuple[tuple[str, int], ...]:
    return tuple((str(name), n) for name, n in labels.cast(str).value_counts().iter_rows())


def _rows_of(
    before: Any, now: Any, added: Mapping[str, int] | None = None, removed: Mapping[str, int] | None = None
) -> list[RowsOf]:
    old, new = (one if isinstance(one, Mapping) else {} for one in (before, now))
    names = dict.fromkeys((*new, *old))
    return [
        RowsOf(
            str(name), _whole(old.get(name)), _whole(new.get(name)),
            None if added is None else added.get(str(name), 0), None if removed is None else removed.get(str(name), 0),
        )
        for name in names
        if _whole(old.get(name)) or _whole(new.get(name))
    ]  # fmt: skip


def _sources(provenance: Mapping[str, Any]) -> Any:
    return provenance.get("rows_by_source") or provenance.get("rows_of_sources")


def _period(provenance: Mapping[str, Any]) -> str:
    found = provenance.get("data_window")
    if not isinstance(found, Mapping) or not found.get("from") or not found.get("to"):
        return ""
    return f"{str(found['from'])[:16].replace('T', ' ')} to {str(found['to'])[:16].replace('T', ' ')} UTC"


def recipe_changes(before: Run | None, now: Run, versions: Sequence[ModelVersion | None]) -> list[Changed]:
    """Keys of the recipe, the base, the labels and the libraries that differ from the run that made the champion.

    Args:
        versions: the champion, and the candidate where there is one.
    """
    champion, candidate = versions
    old, new = _facts_of(before, champion), _facts_of(now, candidate)
    keys = dict.fromkeys((*old, *new))
    return [Changed(key, old.get(key, ""), new.get(key, "")) for key in keys if old.get(key, "") != new.get(key, "")]


def _facts_of(run: Run | None, version: ModelVersion | None) -> dict[str, str]:
    config, metrics = (run.config or {}, run.metrics or {}) if run is not None else ({}, {})
    found = {f"recipe.{key}": value for key, value in _flat(config.get("recipe") or {})}
    if version is not None:
        found["base"] = str(without_paths(version.base_model))
        found["base digest"] = version.base_digest.removeprefix("sha256:")[:12]
    if labels := config.get("labels"):
        found["labels"] = f"{len(labels)}: {', '.join(map(str, labels[:12]))}{' and more' if len(labels) > 12 else ''}"
    if run is not None:
        found["spec revision"] = str(run.spec_revision)
    found |= {f"library {name}": str(v) for name, v in (metrics.get("libraries") or {}).items()}
    if metrics.get("device"):
        found["device"] = str(metrics["device"])
    return found


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{name}.")
        elif value is not None:
            found.append((name, str(without_paths(value))[:300]))
    return found


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
