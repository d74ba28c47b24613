"""The audit report of a model: seconds, megabytes, and the peak memory of the process that builds it.

    python -m bench.pulls.audit HOME    # in a process of its own: builds a report of a filled home folder, prints JSON

`audit_10m` stands for 10 million events: 90 days, 50 columns, 400 windows. `audit_wide` has 10,000 columns, and
`audit_long` 20,000 windows and 10,000 alerts; both show that the faces stay within the same bounds of size.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from bench.load.results import write_lines
from bench.pulls.fill import DAYS, EVENTS, NAME, START, fill

MOST_SECONDS: Final = 10.0
MOST_MEGABYTES: Final = 5.0
MOST_PEAK_MB: Final = 1000.0


def build(home: Path) -> dict[str, Any]:
    """Build the report as the worker does, in this process; the bundle is timed apart from JSON and PDF."""
    from core.clock import ManualClock
    from core.settings import load
    from monitor.site import open_site
    from reports import service

    site = open_site(load({}, home=home), ManualClock(START + timedelta(days=DAYS, hours=1)))
    with site.database.write() as db:
        end = START + timedelta(days=DAYS)
        report = service.request(site, db, NAME, "audit", START, end, [], "bench").id
    begun = time.perf_counter()
    moments = []

    def bundle(*given: Any) -> Any:
        moments.append(time.perf_counter() - begun)
        return bundled(*given)

    bundled, service._bundle = service._bundle, bundle
    row = service.build(site, report)
    whole = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sizes = {
        face: len(site.artifacts.get((row.files or {})[face])) / 1e6 for face in ("json", "pdf", "html", "csv", "zip")
    }
    site.close()
    return {"seconds": moments[0], "with_bundle": whole, "peak_mb": peak, **sizes}


def _case(out: Path, name: str, *, timed: bool, **given: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="assay-pull-") as folder:
        fill(Path(folder), **given)
        command = [sys.executable, "-m", "bench.pulls.audit", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    megabytes = found["json"] + found["pdf"]
    print(
        f"{name}: JSON and PDF in {found['seconds']:.1f} s, {megabytes:.2f} MB, peak {found['peak_mb']:.0f} MB; with "
        f"bundle {found['with_bundle']:.1f} s; HTML {found['html']:.2f} MB, CSV {found['csv']:.2f} MB, "
        f"zip {found['zip']:.1f} MB"
    )
    values = {
        "seconds": (found["seconds"], "s"), "megabytes": (megabytes, "MB"), "peak_mb": (found["peak_mb"], "MB"),
        "seconds_with_bundle": (found["with_bundle"], "s"), "megabytes_html": (found["html"], "MB"),
        "megabytes_csv": (found["csv"], "MB"), "megabytes_bundle": (found["zip"], "MB"),
    }  # fmt: skip
    write_lines(out, name, values, bench="reports", events=EVENTS, days=DAYS, **given)
    small = megabytes <= MOST_MEGABYTES and found["peak_mb"] <= MOST_PEAK_MB
    return small and (found["seconds"] <= MOST_SECONDS or not timed)


def ten_million(out: Path) -> bool:
    return _case(out, "audit_10m", timed=True, windows=400, columns=50, alerts=40, segments=8)


def wide(out: Path) -> bool:
    return _case(out, "audit_wide", timed=False, windows=12, columns=10_000, alerts=12, segments=0)


def long(out: Path) -> bool:
    return _case(out, "audit_long", timed=False, windows=20_000, columns=6, alerts=10_000, segments=0)


CASES: Final[dict[str, Callable[[Path], bool]]] = {"audit_10m": ten_million, "audit_wide": wide, "audit_long": long}

if __name__ == "__main__":
    print(json.dumps(build(Path(sys.argv[1]))))
