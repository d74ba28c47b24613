"""Generate a first spec for a service from a sample of its spans."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.errors import InvalidError
from monitor.ingest.media import JSON, PROTOBUF
from monitor.ingest.otlp.fields import FIELDS
from monitor.ingest.otlp.spans import SpanGroup
from monitor.ingest.otlp.unmapped import Sample

_KINDS: Final = (
    "llm", "agent", "chain", "tool", "retriever", "reranker", "embedding", "guardrail", "evaluator", "other",
)  # fmt: skip
_COLUMNS: Final[Mapping[str, tuple[str, dict[str, str]]]] = {  # field -> required type, column
    "input": ("string", {"role": "input", "type": "text"}),
    "agent": ("string", {"role": "agent", "type": "category"}),
    "tool": ("string", {"role": "segment", "type": "category"}),
    "status": ("string", {"role": "segment", "type": "category"}),
    "finish_reason": ("string", {"role": "segment", "type": "category"}),
    "user": ("string", {"role": "subject", "type": "string"}),
    "latency_ms": ("number", {"role": "measure", "type": "number", "unit": "ms"}),
    "first_token_ms": ("number", {"role": "measure", "type": "number", "unit": "ms"}),
    "input_tokens": ("number", {"role": "measure", "type": "number", "unit": "tokens"}),
    "output_tokens": ("number", {"role": "measure", "type": "number", "unit": "tokens"}),
    "cost_usd": ("number", {"role": "measure", "type": "number", "unit": "USD"}),
}
_COLUMN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]{0,99}")


def starter_spec(
    service: str, sample: Sample, *, model: str | None = None, owner: str | None = None, purpose: str | None = None
) -> dict[str, Any]:
    """Generate a spec that maps the sampled spans; a person still names its owner, purpose and risk.

    Raises:
        InvalidError: the sample has no span, or the service name gives no valid model name.
    """
    kind = next((k for k in _KINDS if k in sample), None)
    if kind is None:
        raise InvalidError(f"no span of service {service[:100]!r} was seen; send one trace first", field="from-trace")
    fields = sample[kind]["fields"]
    columns = {name: dict(column) for name, (type_, column) in _COLUMNS.items() if fields.get(name) == type_}
    columns["output"] = {"role": "prediction", "type": "text"}
    outcomes = dict(_outcomes(sample))
    columns |= {name: {"role": "outcome", "type": type_} for name, (type_, _) in outcomes.items()}
    # A call that failed often names no model, and must count all the same.
    traces: dict[str, Any] = {"service": service, "spans": [kind], "fallback_version": "unknown"}
    renamed = {name: source for name, (_, source) in outcomes.items() if source != name}
    return {
        "model": model or _model_name(service), "task": "generation", "owner": owner or "to be named",
        "purpose": purpose or f"answers of service {service}", "columns": columns,
        "traces": traces | ({"columns": renamed} if renamed else {}),
    }  # fmt: skip


def groups_of_file(content: bytes) -> list[SpanGroup]:
    """Read the spans of a file: one OTLP request in JSON or protobuf, or one JSON request per line.

    Raises:
        BodyError: the file has none of these forms.
    """
    from monitor.ingest.otlp.receive import read_spans

    if not content.lstrip().startswith(b"{"):
        return read_spans(content, PROTOBUF)
    try:
        json.loads(content)
    except ValueError:
        lines = [line for line in content.splitlines() if line.strip()]
        return [group for line in lines for group in read_spans(line, JSON)]
    return read_spans(content, JSON)


def _outcomes(sample: Sample) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each outcome column with its type and the evaluation it maps."""
    for evaluation, parts in {n: t for kind in sample.values() for n, t in kind["evaluations"].items()}.items():
        name = evaluation if _COLUMN.fullmatch(evaluation) else re.sub(r"[^A-Za-z0-9_]+", "_", f"_{evaluation}")[:100]
        if name in FIELDS or name in _COLUMNS:
            name = f"{name}_evaluation"
        if parts:
            yield name, ("category" if parts == "label" else "number", evaluation)


def _model_name(service: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", service.lower()).strip("-._")[:63]
    if not name:
        raise InvalidError(f"service {service[:100]!r} gives no valid model name; give one with --model", field="model")
    return name
