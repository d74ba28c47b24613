#!/usr/bin/env bash
# polars 2.1.0: a column plus the constant 0.0 keeps the sign of a negative zero.
#
# IEEE 754 defines -0.0 + 0.0 as +0.0, and numpy and Polars itself (column plus column) follow it. Adding 0.0 is
# therefore the usual way to normalise negative zeros before numbers are written as text or hashed. Expected: "0.0" for
# both rows. Seen on 2026-11-28 with Python 3.11: a column of two or more rows plus a constant 0.0 comes back unchanged,
# so that equal numbers get two texts; a column of one row, or a column of zeros as the other operand, is added as
# expected. It matters where equality is decided on text or bytes: two equal values pass for different ones. Output:
#     column + 0.0:       ['0.0', '-0.0']
#     column + column:    ['0.0', '0.0']
#     one row + 0.0:      ['0.0']
#     numpy:              ['0.0', '0.0']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check polars==2.1.0 numpy==2.4.6
"$folder/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
import polars as pl

frame = pl.DataFrame({"a": [0.0, -0.0], "zero": [0.0, 0.0]})


def texts(rows: pl.DataFrame, sum_: pl.Expr) -> list[str]:
    return rows.select(text=sum_.cast(pl.String))["text"].to_list()


seen = {
    "column + 0.0": texts(frame, pl.col("a") + 0.0),
    "column + column": texts(frame, pl.col("a") + pl.col("zero")),
    "one row + 0.0": texts(frame.tail(1), pl.col("a") + 0.0),
    "numpy": [str(float(x)) for x in np.array([0.0, -0.0]) + 0.0],
}
for name, found in seen.items():
    print(f"{name + ':':<19} {found}")
assert list(seen.values()) == [["0.0", "-0.0"], ["0.0", "0.0"], ["0.0"], ["0.0", "0.0"]], "the behaviour has changed"
print("as stated")
PYTHON
