"""Spans of MLflow in the words of the conventions that the rest of this package reads.

MLflow writes every attribute as JSON: `mlflow.spanType` is `"CHAT_MODEL"` with the quotes, the token counts are one
map, and the request and the response are documents. Source: `mlflow/tracing/constant.py`, seen with 3.17.2.
"""

import json
from typing import Any, Final

from monitor.ingest.otlp.spans import Attributes

MARK: Final = "mlflow.traceRequestId"  # every span has it
_DOCUMENTS: Final = {"mlflow.spanInputs": "input.value", "mlflow.spanOutputs": "output.value"}
_MAX_DECODED: Final = 10_000  # characters of an attribute that is no document


def conventional(attributes: Attributes) -> Attributes:
    """Return the attributes of a span of MLflow, decoded, with those that follow from them; what is there stays."""
    found = {name: value if name in _DOCUMENTS else _decoded(value) for name, value in attributes.items()}
    usage, cost = found.get("mlflow.chat.tokenUsage"), found.get("mlflow.llm.cost")
    usage, cost = usage if isinstance(usage, dict) else {}, cost if isinstance(cost, dict) else {}
    said = {
        "gen_ai.response.model": found.get("mlflow.llm.model"),
        "gen_ai.provider.name": found.get("mlflow.llm.provider"),
        "gen_ai.usage.input_tokens": usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.total_tokens": usage.get("total_tokens"),
        "gen_ai.usage.cache_read.input_tokens": usage.get("cache_read_input_tokens"),
        "gen_ai.usage.cost": cost.get("total_cost"),
        "gen_ai.response.finish_reasons": _finish_reasons(found.get("mlflow.spanOutputs")),
    }
    for name, plain in _DOCUMENTS.items():
        value = found.get(name)
        said[plain] = _decoded(value) if isinstance(value, str) and value.startswith('"') else value
    return {name: value for name, value in said.items() if value is not None} | found


def _decoded(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > _MAX_DECODED:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _finish_reasons(outputs: Any) -> list[Any] | None:
    """Why the answers of a chat completion ended; None for every other document."""
    document = _decoded(outputs)
    choices = document.get("choices") if isinstance(document, dict) else None
    reasons = (
        [one.get("finish_reason") for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    )
    return reasons or None
