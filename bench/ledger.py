"""What proof costs and how far it reaches: one case per module of bench/proofs/.

    python -m bench.ledger [--cases mlbom ...]

Appends to bench/results/ledger.jsonl. The campaign of mutations is bench/attack.py.
"""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
CASES: Final = {  # a function of a module, which is given where its lines go
    "binding": ("binding", "run"),
    "append_sqlite": ("append", "run_sqlite"), "append_postgres": ("append", "run_postgres"),
    "proof_10m": ("inclusion", "run"), "verify_1m": ("whole", "run"), "permission": ("permission", "run"),
    "mlbom": ("mlbom", "run"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "ledger.jsonl")
    options = parser.parse_args()
    for case in options.cases:
        module, function = CASES[case]
        getattr(import_module(f"bench.proofs.{module}"), function)(options.out)


if __name__ == "__main__":
    main()
