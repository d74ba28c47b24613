"""Prints the values of NannyML 0.13.1 that test_peers.py compares with. Run it where nannyml is installed.

python tests/monitor/drift/nannyml_constants.py
"""

import json
import warnings
from typing import Any


def sides() -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """A number and a category, made without a random generator: 600 reference rows, 300 of the window."""
    reference: dict[str, list[Any]] = {
        "x": [float(i * 37 % 101) for i in range(600)],
        "c": ["abcd"[i * i % 13 % 4] for i in range(600)],
    }
    window: dict[str, list[Any]] = {
        "x": [float(i * 53 % 89 + 6) for i in range(300)],
        "c": ["abcde"[i * i % 11 % 5] for i in range(300)],
    }
    return reference, window


def main() -> None:
    warnings.simplefilter("ignore")
    import nannyml  # type: ignore[import-not-found]  # only in an environment of its own
    import pandas as pd

    reference, window = (pd.DataFrame(side) for side in sides())
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=["x", "c"], chunk_number=1, continuous_methods=["kolmogorov_smirnov", "wasserstein"],
        categorical_methods=["chi2", "jensen_shannon", "hellinger", "l_infinity"],
    )  # fmt: skip
    found = calculator.fit(reference).calculate(window).filter(period="analysis").to_df(multilevel=False)
    values = {name.removesuffix("_value"): float(found[name].iloc[0]) for name in found if name.endswith("_value")}
    print(json.dumps(values, indent=4, sort_keys=True))


if __name__ == "__main__":
    main()
