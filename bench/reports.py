"""Are pages and reports fast, whatever the installation holds?

  make bench-reports                                     everything
  make bench-reports ARGS="--only pages --models 10"     a quicker look at the pages

page_NAME   p95_ms: the time until the page has arrived whole, over 100 requests to a real process; beside it the
            model page of the build before charts were drawn in the browser, on the same rows in the same run
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final

from bench.pages import cases as pages

OUT: Final = Path(__file__).parent / "results" / "reports.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("pages",), help="one part of it")
    parser.add_argument("--out", type=Path, default=OUT)
    pages.arguments(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pages.run(given, Path(folder), given.out)


if __name__ == "__main__":
    main()
