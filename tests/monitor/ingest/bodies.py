"""Good bodies in every form, and the one way to read any body as the service does, for the fuzz tests."""

import gzip
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl
import pyarrow as pa

from core.errors import AppError
from monitor.ingest.arrow import read_arrow_columns, read_parquet_columns
from monitor.ingest.encoding import decoded
from monitor.ingest.json_columns import read_json_columns, read_ndjson_columns
from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET
from monitor.ingest.quarantine import quarantine_rows
from monitor.ingest.row_schema import Target, events_of, outcomes_of
from monitor.ingest.validate import CheckedRows
from monitor.redact.columns import redacted
from monitor.spec.parse import parse_spec

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
LIMIT_MB: Final = 1
SPEC: Final = parse_spec({
    "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 100"},
    "columns": {
        "text": {"role": "input", "type": "text"}, "answer": {"role": "prediction", "type": "category"},
        "score": {"role": "score", "type": "number"}, "vip": {"role": "segment", "type": "boolean"},
        "who": {"role": "subject", "type": "string"}, "truth": {"role": "outcome", "type": "category"},
    },
    "redact": {"text": ["email", "phone", "card", "iban", "secret", {"name": "own", "pattern": "P-[0-9]{3}"}]},
})  # fmt: skip
TARGETS: Final = (events_of(SPEC), outcomes_of(SPEC))
ROWS: Final[list[dict[str, Any]]] = [
    {
        "event_id": f"e{i}", "ts": f"2026-05-01T00:00:{i:02}.5Z", "version": "v1", "trace_id": None,
        "text": f'mail a{i}@example.com "P-12{i}" 4111 1111 1111 1111 é', "answer": "a", "score": i / 3,
        "vip": i % 2 == 0, "who": "Ada",
    }
    for i in range(8)
]  # fmt: skip


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    times = pl.col("ts").str.to_datetime(time_zone="UTC")
    return pl.DataFrame(rows).with_columns(
        times, pl.col("answer").cast(pl.Categorical), pl.col("trace_id").cast(pl.String)
    )


def good(rows: list[dict[str, Any]] = ROWS) -> dict[str, bytes]:
    """The same rows in every form."""
    return {
        NDJSON: "\n".join(map(json.dumps, rows)).encode(),
        JSON: json.dumps(rows).encode(),
        ARROW: _written(lambda out: _frame(rows).write_ipc_stream(out, compression="lz4")),
        PARQUET: _written(lambda out: _frame(rows).write_parquet(out)),
    }


PACK: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "identity": lambda body: body, "gzip": gzip.compress, "zstd": lambda body: pa.compress(body, "zstd", asbytes=True),
}  # fmt: skip


def read(target: Target, body: bytes, form: str, coding: str) -> CheckedRows | None:
    """Read a body to the end; None where it is refused as a whole, which only an error of ours may do."""
    try:
        body = decoded(body, coding, LIMIT_MB)
        match form:
            case "application/vnd.apache.arrow.stream":
                checked = read_arrow_columns(target, body, NOW, LIMIT_MB)
            case "application/vnd.apache.parquet":
                checked = read_parquet_columns(target, body, NOW, LIMIT_MB)
            case "application/json":
                checked = read_json_columns(target, body, NOW)
            case _:
                checked = read_ndjson_columns(target, body, NOW)
    except AppError as error:
        refused = error.message
    else:
        _check(checked)
        return checked
    assert 0 < len(refused) < 2000
    return None


def _check(checked: CheckedRows) -> None:
    """What follows on reading is done too: redaction, and the rows that go to quarantine."""
    frame = redacted(checked.frame, SPEC.redact, b"k")
    assert frame.height == len(checked.lines)
    kept = quarantine_rows(SPEC, "events", checked.rejected, None, key=b"k", digest=lambda value: "0" * 64)
    assert kept.height == len(checked.rejected)
    lines = [*checked.lines, *(r.line for r in checked.rejected)]
    assert len(set(lines)) == len(lines)
    assert all(r.reason for r in checked.rejected)
