"""Milliseconds of a verdict from stored profiles, and of the decision only."""

import time
from collections.abc import Callable, Sequence
from uuid import uuid4

import numpy as np

from bench.speed.rows import column_kinds, make_rows
from monitor.detect.decide import decide
from monitor.profile.block import profile_blocks
from monitor.profile.fit_reference import fit_reference
from monitor.profile.reference_profile import ReferenceProfile

ROUNDS = 25
Timed = tuple[float, float]  # milliseconds of wall and of CPU, medians


def time_windows(rows: Sequence[int]) -> list[Timed]:
    """Judge and measure a week of 50 columns, in quarters of days from the database, for several rows in a quarter.

    The sizes take turns, so that other work on the machine affects all of them alike.
    """
    reference = make_rows(63 * 4 * 200, 40, 10, 1, 0.0)
    labels = np.arange(reference.height) // 200
    profile = fit_reference(reference, column_kinds(reference.columns), blocks=labels, parts=4)
    return _medians([_window(profile, r) for r in rows])


def time_decision() -> Timed:
    """Decide on 500 columns, 7 blocks among 56, with 300 permutations."""
    reference = make_rows(56 * 100, 500, 0, 1, 0.0)
    profile = fit_reference(reference, column_kinds(reference.columns), blocks=56)
    blocks = profile_blocks(make_rows(700, 500, 0, 2, 0.0), profile, np.arange(700) // 100)

    def once(seed: int) -> None:
        decide(profile, blocks, alpha=1 / 30, permutations=300, seed=seed)

    return _medians([once])[0]


def _window(profile: ReferenceProfile, rows: int) -> Callable[[int], None]:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from core.db import Base
    from monitor.detect.arrangement import WindowLayout, plan_blocks
    from monitor.drift import drift_scores
    from monitor.profile.block import merge_all
    from monitor.profile.codec import to_bytes
    from monitor.reference.block_profiles import stored_blocks
    from monitor.tables import StoredProfile

    window = make_rows(28 * rows, 40, 10, 2, 0.01)
    blocks = profile_blocks(window, profile, np.arange(window.height) // rows)
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    owner, scale = uuid4(), WindowLayout(28, "day", 21_600)
    with Session(engine) as db:
        db.add_all(
            StoredProfile(baseline_id=owner, label=400 + i, version="", segment="", rows=b.rows, data=to_bytes(b))
            for i, b in enumerate(blocks)
        )
        db.commit()

    def once(seed: int) -> None:
        with Session(engine) as db:
            found = stored_blocks(db, owner, profile.coding, range(400, 428))
        plan = plan_blocks(profile, scale, 7 / 60)
        decide(profile, found, alpha=7 / 60, plan=plan, first=400, permutations=300, seed=seed)
        drift_scores(profile, merge_all(found))

    return once


def _medians(work: Sequence[Callable[[int], None]]) -> list[Timed]:
    taken = np.empty((ROUNDS, len(work), 2))
    for i in range(ROUNDS):
        for j, once in enumerate(work):
            start, before = time.perf_counter(), time.process_time()
            once(i)
            taken[i, j] = time.perf_counter() - start, time.process_time() - before
    wall, cpu = np.moveaxis(np.median(taken[2:], axis=0) * 1000, 1, 0).tolist()
    return list(zip(wall, cpu, strict=True))
