"""Media types and content codings of the bodies that ingest accepts."""

from typing import Final

NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
MEDIA_TYPES: Final = (NDJSON, JSON, ARROW, PARQUET)

IDENTITY: Final = "identity"
ENCODINGS: Final = (IDENTITY, "gzip", "zstd")

PROTOBUF: Final = "application/x-protobuf"
OTLP_TYPES: Final = (PROTOBUF, JSON)
