"""What schemathesis, in an environment of its own, needs to know of this API: bodies that no schema describes.

Loaded by schemathesis (SCHEMATHESIS_HOOKS), never imported here.
"""

import json
import random

import schemathesis  # type: ignore[import-not-found]
from hypothesis import strategies as st

ROW = {"event_id": "e", "ts": "2026-01-05T00:00:00Z", "version": "v1", "text": "hi", "intent": "a", "intent_true": "a"}
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.none(), max_size=2)
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from([*ROW, "other"]), VALUES).map(lambda changed: ROW | changed), max_size=5
)


def _lines(rows):  # type: ignore[no-untyped-def]
    return "\n".join(json.dumps(row) for row in rows).encode(errors="replace")


SPEC = """model: {name}
task: classification
owner: me
purpose: fuzz
columns:
  text: {{role: input, type: text}}
  intent: {{role: prediction, type: category}}
  intent_true: {{role: outcome, type: category}}
monitors: {{windows: {windows}, false_alarms: {budget}}}
"""
SPECS = st.builds(
    SPEC.format, name=st.sampled_from(["support-intents", "m", "loans"]),
    windows=st.sampled_from(["auto", "[1d]", "[99999999999d]", "{rows: 99999999999}", "[1s]", "*a", "&a [*a]"]),
    budget=st.sampled_from(["1 per 30d", "1 per 99999999999d", "{alpha: 0.01}", "{alpha: 1e-300}"]),
)  # fmt: skip
ANY = st.binary(max_size=200)

schemathesis.openapi.media_type("application/x-ndjson", ROWS.map(_lines) | ANY)
for kind in ("application/yaml", "application/x-yaml", "text/yaml"):
    schemathesis.openapi.media_type(kind, SPECS.map(str.encode) | ANY)
for kind in (
    "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet", "application/octet-stream",
    "application/x-protobuf",
):  # fmt: skip
    schemathesis.openapi.media_type(kind, ANY)


@schemathesis.hook
def map_path_parameters(context, path_parameters):  # type: ignore[no-untyped-def]
    """Mostly name the model that exists, so that requests go deeper than 404."""
    if path_parameters and "model" in path_parameters and random.random() < 0.8:
        path_parameters["model"] = "support-intents"
    return path_parameters
