"""What the trigger `new_classes` looks at: labelled rows of classes that the champion does not know."""

from typing import Final
from uuid import UUID

import polars as pl
from sqlalchemy.orm import Session

from core.cache import CacheKind
from core.errors import AppError
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.duration import duration
from retrain import store
from retrain.curate.select import Shape
from retrain.curate.service import old_end
from retrain.curate.split import MIN_CLASS_ROWS
from retrain.envelope import Plan
from retrain.triggers.base import NewClassesReading
from retrain.triggers.new_classes import asked, begins, expected_share

# Counted once for what a champion was made for, and again each time twice as many outcomes are there.
OLD_CLASSES: Final = CacheKind[tuple[UUID, int, int], dict[str, int]]("rows by class of a champion's own time", most=64)


def new_classes(site: Site, db: Session, current: CurrentSpec) -> NewClassesReading | None:
    """The reading for a policy that asks for it; None for another."""
    wanted = asked(current.spec.retrain) if current.spec.retrain else None
    if wanted is None:
        return None
    name = current.model.name
    try:
        plan = Plan.of(current.spec)
        shape = Shape.of(current.spec, plan.recipe.task)
    except AppError as error:  # the envelope's blocker, or the run itself, says it
        return NewClassesReading(0, {}, None, error.message)
    if not shape.classifies:
        return NewClassesReading(0, {}, None, f"a recipe of task {plan.recipe.task} has no classes")
    champion = store.champion(db, current.model.id)
    extent = site.events.extent(name)
    if champion is None or extent.outcomes == 0:
        return NewClassesReading(0, {}, None, "no outcome has arrived")
    shape = shape.spelled(champion.answers)
    boundary = old_end(db, current.model, champion)
    key = (current.model.id, boundary, extent.outcomes.bit_length())
    old = site.cache.get(OLD_CLASSES, key, lambda: _counts(_labels(site, current, shape, 0, boundary)))
    known = set(champion.answers) or set(old)
    since = begins(site.clock.now(), duration(wanted.new_classes.per))
    recent = _counts(_labels(site, current, shape, boundary, None).filter(pl.col("ts") >= since))
    unknown = {label: rows for label, rows in recent.items() if label not in known}
    expected = expected_share(old, known, MIN_CLASS_ROWS)
    return NewClassesReading(sum(recent.values()), unknown, expected, old_rows=sum(old.values()))


def _labels(site: Site, current: CurrentSpec, shape: Shape, begin: int, end: int | None) -> pl.DataFrame:
    """Times and labels of the labelled events in a range."""
    frame = site.events.labelled(current.model.name, from_seq=begin, to_seq=end, columns=["ts"])
    if shape.label not in frame.columns:
        return pl.DataFrame(schema={"ts": pl.Datetime("us", "UTC"), "label": pl.String})
    return frame.select("ts", shape.labels(frame, shape.label)).drop_nulls("label")


def _counts(frame: pl.DataFrame) -> dict[str, int]:
    return dict(frame.group_by("label").len().sort("label").iter_rows())
