"""Attacks on the proof: thousands of random changes of everything that is printed, bound or signed.

    python -m bench.attack [--count N] [--untouched N] [--seed N]

One installation is built; each change is made in a transaction that is rolled back, or in a copy. One anchor is kept
where nothing changes it. Appends the lines of case `mutation` to bench/results/ledger.jsonl.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.load.results import write_lines
from bench.proofs.campaign import Campaign
from bench.proofs.installation import build

ROOT: Final = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=10_000, help="changes to make")
    parser.add_argument("--untouched", type=int, default=1000, help="looks at what nobody changed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "ledger.jsonl")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-attack-") as folder:
        installation = build(Path(folder))
        campaign = Campaign(installation, options.seed)
        begun = time.perf_counter()
        columns = campaign.every_column().count
        outcome = campaign.run(options.count + columns)
        took = time.perf_counter() - begun
        alarms = campaign.untouched(options.untouched)
        installation.site.close()
    detected = 1 - len(outcome.missed) / outcome.count
    named = 1 - (len(outcome.missed) + len(outcome.unnamed)) / outcome.count
    print(f"{outcome.count} changes in {took:.0f} s: {detected:.2%} detected, {named:.2%} named")
    print(f"{alarms} false alarms in {options.untouched} looks")
    for line in (*outcome.missed[:40], *outcome.unnamed[:40]):
        print(f"  {line}")
    found = {
        "detected_share": (detected, "share"), "named_share": (named, "share"), "false_alarms": (alarms, "alarms"),
    }  # fmt: skip
    write_lines(
        options.out, "mutation", found, bench="ledger", changes=outcome.count, untouched=options.untouched,
        columns=columns, seed=options.seed, ms_each=round(1000 * took / outcome.count, 2),
    )  # fmt: skip


if __name__ == "__main__":
    main()
