#!/usr/bin/env bash
# Evidently 0.7.23: the normed Wasserstein distance depends on the unit of a column whose numbers vary little.
#
# `ValueDrift(method="wasserstein")`, by default the method for numbers from 1,001 reference rows on, is documented as the
# distance over the reference's standard deviation; so a column in another unit should have the same distance and the
# same verdict. Seen on 2026-11-28 with Python 3.11: the divisor is never below 0.001, without a word in the result. A
# cost of a call of 0.0005 +- 0.0001 dollars that rises by half a standard deviation is no drift (distance 0.05, where the
# same numbers in thousandths of a dollar have 0.53). It matters for costs per token, for probabilities of rare
# events, and for any number in a large unit. Output:
#     dollars: 0.053 SUCCESS | thousandths: 0.526 FAIL
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'evidently==0.7.23' 'pandas<3'
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift

random = np.random.default_rng(0)
before, after = random.normal(0.0005, 0.0001, 2000), random.normal(0.00055, 0.0001, 2000)


def verdict(unit: float) -> tuple[float, str]:
    definition = DataDefinition(numerical_columns=["cost"])
    sides = [Dataset.from_pandas(pd.DataFrame({"cost": side * unit}), definition) for side in (after, before)]
    report = Report([ValueDrift(column="cost", method="wasserstein", threshold=0.1)], include_tests=True)
    found = json.loads(report.run(*sides).json())
    return float(found["metrics"][0]["value"]), found["tests"][0]["status"]


(small, first), (large, second) = verdict(1.0), verdict(1000.0)
print(f"dollars: {small:.3f} {first} | thousandths: {large:.3f} {second}")
assert (first, second) == ("SUCCESS", "FAIL"), "the behaviour has changed: the verdict does not depend on the unit"
assert abs(small * 10 - large) < 0.05 * large, "the behaviour has changed"
print("as stated")
PYTHON
