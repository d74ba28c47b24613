"""Are pages and reports fast, whatever the installation holds?

  make bench-reports                                     everything
  make bench-reports ARGS="--only pages --models 10"     a quicker look at the pages
  make bench-reports ARGS="--only pulls"                 the audit report alone
  make bench-reports ARGS="--only pulls --pulls audit_10m,audit_wide,audit_long"

page_NAME   p95_ms: the time until the page has arrived whole, over 100 requests to a real process; beside it the
            model page of the build before charts were drawn in the browser, on the same rows in the same run
audit_10m   seconds, megabytes (JSON and PDF) and peak_mb of the process that builds the audit report over 10 million
            events, 90 days, 50 columns, 400 windows; audit_wide has 10,000 columns, audit_long 20,000 windows and
            10,000 alerts: their size and memory are held to the same bounds, their time is not
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.pages import cases as pages
from bench.pulls import audit

OUT: Final = Path(__file__).parent / "results" / "reports.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("pages", "pulls"), help="one part of it")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--pulls", default="audit_10m", help=f"reports to pull, some of: {', '.join(audit.CASES)}")
    pages.arguments(parser)
    given = parser.parse_args()
    good = given.only == "pages" or all(audit.CASES[name](given.out) for name in given.pulls.split(","))
    if given.only != "pulls":
        with tempfile.TemporaryDirectory() as folder:
            pages.run(given, Path(folder), given.out)
    if not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
