"""What it costs to read a Parquet body's footer and page headers before any page is unpacked.

    python -m bench.decisions.parquet_footer

Bodies of 5,000 and 1,000,000 rows with nine columns, as polars writes them: milliseconds of CPU for our reader, for the
whole read that follows, and for a fresh process that imports pyarrow, which is what reading footers apart would cost.
Prints JSON lines; docs/decisions/0021 states the figures of one run.
"""

import io
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from monitor.ingest.parquet_footer import LeafColumn, page_sizes, row_groups  # noqa: E402

REPEATS = 20


def body(rows: int) -> bytes:
    draw = np.random.default_rng(rows)
    frame = pl.DataFrame(
        {
            "event_id": pl.Series(np.arange(rows)).cast(pl.String).str.pad_start(20, "0"),
            "ts": pl.Series(np.arange(rows)).cast(pl.Datetime("us", "UTC")),
            "version": ["v7"] * rows,
            **{f"x{i}": draw.random(rows) for i in range(3)},
            **{f"c{i}": draw.choice(["north", "south", "east"], rows) for i in range(3)},
        }
    )
    out = io.BytesIO()
    frame.write_parquet(out)
    return out.getvalue()


def main() -> None:
    for rows in (5_000, 1_000_000):
        data = body(rows)
        leaves = [LeafColumn(name, 8, in_list=False) for name in pq.read_schema(io.BytesIO(data)).names]
        began = time.process_time()
        for _ in range(REPEATS):
            pages = sum(1 for _ in page_sizes(data, leaves, row_groups(data)))
        show(rows, "footer and page headers", 1e3 * (time.process_time() - began) / REPEATS, pages)
        began = time.process_time()
        for _ in range(REPEATS):
            pl.read_parquet(io.BytesIO(data))
        show(rows, "the whole body, by polars", 1e3 * (time.process_time() - began) / REPEATS, pages)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(5):
        subprocess.run([sys.executable, "-c", "import pyarrow.parquet"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    show(0, "a process that imports pyarrow", 1e3 * spent / 5, 0)


def show(rows: int, what: str, value: float, pages: int) -> None:
    line = {"rows": rows, "pages": pages, "what": what, "value": round(value, 3), "unit": "ms of CPU"}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
