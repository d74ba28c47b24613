"""Fairness: is it counted fast, and is what is said of it as certain as it says?

    python -m bench.fairness [--cases a,b] [--runs N] [--seed N] [--out FILE]

Each case is a module of bench/groups/, which says what it measures. Appends JSON lines to bench/results/fairness.jsonl
and ends with 1 if a case is outside what is promised.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.groups import coverage, null, rates  # noqa: E402

CASES: dict[str, Callable[[argparse.Namespace], bool]] = {
    "metricframe_1m": rates.metricframe, "rates_10m": rates.ten_million, "period": rates.period,
    "coverage": coverage.run, "null": null.run,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--runs", type=int, default=1000, help="simulated histories of the case `null`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "fairness.jsonl")
    options = parser.parse_args()
    good = [CASES[name](options) for name in options.cases.split(",")]
    if not all(good):
        sys.exit(1)


if __name__ == "__main__":
    main()
