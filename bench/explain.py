"""Explanations: are they fast, do they add up, and do they name what the model used?

    python -m bench.explain [--cases a,b] [--rows N] [--base DIR] [--out FILE]

Each case is a module of bench/reasons/, which says what it measures. Appends JSON lines to bench/results/explain.jsonl
and ends with 1 if a case is outside what is promised.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.reasons import beside_training, deletion, no_drift, text, tree  # noqa: E402

CASES: dict[str, Callable[[argparse.Namespace], bool]] = {
    "text": text.run, "deletion": deletion.run, "beside_training": beside_training.run,
    "no_drift": no_drift.run, "tree": tree.run,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--rows", type=int, default=200, help="texts of the cases `text` and `deletion`")
    parser.add_argument("--peer-rows", type=int, default=60, help="of those, texts that shap explains")
    parser.add_argument("--threads", type=int, default=2, help="of the model")
    parser.add_argument("--base", type=Path, help="a classifier; without it one is made, as the demo makes its first")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "explain.jsonl")
    options = parser.parse_args()
    good = [CASES[name](options) for name in options.cases.split(",")]
    if not all(good):
        sys.exit(1)


if __name__ == "__main__":
    main()
