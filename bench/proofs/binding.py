"""What binding costs an evaluation: the same windows evaluated with and without it, in turns, by CPU time."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from bench.load.results import write_lines
from bench.proofs.installation import migrate
from core import settings
from core.clock import ManualClock
from core.db import Database
from governance.binding.check import check_rows
from monitor import service
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site, open_site
from monitor.windows.evaluate import evaluate
from tests.monitor.traffic import BEGIN, events_body, outcomes_body, rows, spec

WINDOW: Final = 250


def _open(folder: Path, *, bound: bool) -> Site:
    loaded = settings.load({}, home=folder)
    migrate(loaded.database_url)
    site = open_site(loaded, ManualClock(BEGIN))
    if not bound:  # sessions that nothing listens to
        site.database.dispose()
        site = replace(site, database=Database(loaded.database_url))
    with site.database.write() as db:
        service.apply_spec(site, db, spec(), "bench")
    return site


def _evaluated(site: Site, number: int) -> float:
    """CPU seconds of the evaluation of a window of rows that have just arrived with their outcomes."""
    frame = rows(WINDOW, start=number * WINDOW)
    assert isinstance(site.clock, ManualClock)
    site.clock.move_to(BEGIN + (number + 1) * WINDOW * timedelta(minutes=1))
    receive(site, "loans", "events", Body(events_body(frame), NDJSON))
    receive(site, "loans", "outcomes", Body(outcomes_body(frame), NDJSON))
    begun = time.process_time()
    evaluate(site, "loans")
    return time.process_time() - begun


def overhead(windows: int, repeats: int, say: Callable[[str], None] = print) -> tuple[float, dict[str, float]]:
    """Share of CPU time that binding adds to an evaluation, and facts: seconds and bound rows.

    Args:
        windows: evaluations of one window in each repeat, after the reference is complete.
        repeats: installations of each arm; the share is the median of theirs.
    """
    shares, spent, bound_rows = [], [0.0, 0.0], 0
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory(prefix="assay-binding-") as name:
            arms = {bound: _open(Path(name) / str(bound), bound=bound) for bound in (True, False)}
            used = {True: 0.0, False: 0.0}
            for number in range(windows + 4):
                for bound in (True, False) if number % 2 else (False, True):
                    took = _evaluated(arms[bound], number)
                    used[bound] += took if number >= 4 else 0.0
            with arms[True].database.read() as db:
                verdict = check_rows(db)
            assert verdict.ok, verdict.findings[:3]
            bound_rows = verdict.rows
            for site in arms.values():
                site.close()
        shares.append(used[True] / used[False] - 1)
        spent = [spent[0] + used[True], spent[1] + used[False]]
        say(f"repeat {repeat}: {used[True]:.2f} s bound, {used[False]:.2f} s not, {shares[-1]:+.1%}")
    facts = {"bound_s": round(spent[0], 3), "unbound_s": round(spent[1], 3), "rows": float(bound_rows)}
    return statistics.median(shares), facts


def run(out: Path) -> None:
    """Measure and append the line."""
    share, facts = overhead(windows=20, repeats=3)
    write_lines(out, "binding", {"overhead_share": (share, "share")}, bench="ledger", windows=20, repeats=3, **facts)
