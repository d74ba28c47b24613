"""Made-up rows, their spec, and request bodies with new ids each time."""

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

MODEL = "bench"
ID_LENGTH = 20
TYPES = {"ndjson": "application/x-ndjson", "json": "application/json",
         "arrow": "application/vnd.apache.arrow.stream", "parquet": "application/vnd.apache.parquet"}  # fmt: skip
SPEC: dict[str, Any] = {
    "model": MODEL, "task": "classification", "owner": "bench@example.com", "purpose": "to be measured",
    "columns": {
        "text": {"role": "input", "type": "text"}, "intent": {"role": "prediction", "type": "category"},
        "confidence": {"role": "score", "type": "number"}, "urgent": {"role": "segment", "type": "boolean"},
        **{f"num_{i}": {"role": "input", "type": "number"} for i in range(9)},
        **{f"cat_{i}": {"role": "segment", "type": "category"} for i in range(8)},
        "latency_ms": {"role": "measure", "type": "number"},
    },
    "baseline": {"rows": "first 100000000"},
}  # fmt: skip


def frame(rows: int, seed: int) -> pl.DataFrame:
    """Made-up traffic; ids are placeholders of a fixed length."""
    random = np.random.default_rng(seed)
    words = np.array(
        ["where", "is", "my", "card", "it", "has", "not", "come", "yet", "please", "help", "top", "up", "account"]
    )
    intents = [f"intent_{i:02}" for i in range(77)]
    times = datetime.now(UTC).timestamp() - random.uniform(0, 3600, rows)
    return pl.DataFrame({
        "event_id": ["#" * ID_LENGTH] * rows,
        "ts": pl.Series((times * 1e6).astype(np.int64)).cast(pl.Datetime("us", "UTC")),
        "version": ["v1"] * rows,
        "text": [" ".join(random.choice(words, 5)) for _ in range(rows)],
        "intent": random.choice(intents, rows).tolist(), "confidence": random.random(rows).round(4),
        "urgent": random.random(rows) < 0.1,
        **{f"num_{i}": random.normal(50, 10, rows).round(3) for i in range(9)},
        **{f"cat_{i}": random.choice(["a", "bb", "ccc", "dddd"], rows).tolist() for i in range(8)},
        "latency_ms": random.exponential(80, rows).round(1),
    })  # fmt: skip


class Bodies:
    """Bodies of one kind with new ids each time; text forms by overwriting the ids in place."""

    def __init__(self, case: str, rows: int, prefix: str) -> None:
        self.case, self.rows, self.prefix = case, rows, prefix
        self.frame = frame(rows, 7)
        written = self.frame.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
        text = written.write_ndjson().encode().rstrip(b"\n")
        self.bytes_a_row = len(text) / rows
        self.text = text if case == "ndjson" else b"[" + text.replace(b"\n", b",") + b"]"
        raw = np.frombuffer(self.text, dtype=np.uint8)
        starts = np.flatnonzero(raw == ord("#")).reshape(rows, ID_LENGTH)
        self.places = starts
        # Only the part of an id that is the same in a whole request is written anew: the generator shares the cores.
        self.ends = [f"{i:0{ID_LENGTH - len(self.start(0))}}" for i in range(rows)]
        raw = raw.copy()
        raw[starts] = np.frombuffer("".join(self.ids(0)).encode(), dtype=np.uint8).reshape(rows, ID_LENGTH)
        self.text = raw.tobytes()

    def ids(self, number: int) -> list[str]:
        return [self.start(number) + end for end in self.ends]

    def start(self, number: int) -> str:
        return f"{self.prefix}{number:06}-"

    def make(self, number: int) -> bytes:
        if self.case in ("ndjson", "json"):
            raw = np.frombuffer(self.text, dtype=np.uint8).copy()
            raw[self.places[:, : len(self.start(number))]] = np.frombuffer(self.start(number).encode(), dtype=np.uint8)
            return raw.tobytes()
        filled = self.frame.with_columns(pl.lit(self.start(number)).add(pl.Series(self.ends)).alias("event_id"))
        out = io.BytesIO()
        if self.case == "parquet":
            filled.write_parquet(out)
        else:
            table = filled.to_arrow()
            with pa.ipc.new_stream(out, table.schema) as stream:
                stream.write_table(table)
        return out.getvalue()
