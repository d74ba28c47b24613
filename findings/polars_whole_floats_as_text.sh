#!/usr/bin/env bash
# polars 2.1.0: a whole float is one text from NDJSON and another from a cast, and joins between the two find nothing.
#
# The same valid line, {"code": 1.0}, is read as a column of texts in two documented ways: with `schema={"code": String}`,
# and without a schema followed by `cast(String)`. Expected: one text, or an error that says that a number is no text.
# Seen on 2026-11-28 with Python 3.11: the first gives "1" (and "1500" for 1.5e3), the second "1.0" (and "1500.0");
# no error, no warning. The schema makes a number of any kind a text: `true` becomes "true". It matters wherever codes
# of one system are written as floats because a value is missing: a join or comparison of the two columns is empty.
# Output:
#     by schema: ['1', '1500', None] | by cast: ['1.0', '1500.0', None] | rows joined: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'polars==2.1.0'
"$folder/venv/bin/python" -W error - <<'PYTHON'
import polars as pl

lines = b'{"code": 1.0}\n{"code": 1.5e3}\n{"code": null}\n'
by_schema = pl.read_ndjson(lines, schema={"code": pl.String})
by_cast = pl.read_ndjson(lines).cast(pl.String)
joined = by_schema.join(by_cast, on="code").height
print("by schema:", by_schema["code"].to_list(), "| by cast:", by_cast["code"].to_list(), "| rows joined:", joined)
assert by_schema["code"].to_list() == ["1", "1500", None], "the behaviour has changed"
assert by_cast["code"].to_list() == ["1.0", "1500.0", None], "the behaviour has changed"
assert joined == 0, "the behaviour has changed"
print("as stated")
PYTHON
