"""Which packages are run, each with the switches that make it send texts and tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_NEWEST: Final = {"OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental"}


@dataclass(frozen=True, slots=True)
class Sender:
    """A package as it is run: its program, the environment it needs, and its switches."""

    package: str
    program: str  # in `programs/`
    environment: str = "main"  # requirements file in `environments/`
    switches: Mapping[str, str] = field(default_factory=dict)
    variant: str = ""  # tells two ways of running one version apart


SENDERS: Final[Mapping[str, Sender]] = {
    "openinference-openai": Sender("openinference-instrumentation-openai", "openinference_openai"),
    "openinference-langchain": Sender("openinference-instrumentation-langchain", "openinference_langchain"),
    "openinference-litellm": Sender("openinference-instrumentation-litellm", "openinference_litellm"),
    "openinference-agents": Sender("openinference-instrumentation-openai-agents", "openinference_agents"),
    "traceloop-openai": Sender("opentelemetry-instrumentation-openai", "traceloop_openai"),
    "traceloop-openai-events": Sender(
        "opentelemetry-instrumentation-openai", "traceloop_openai_events", variant="use_legacy_attributes=False"
    ),
    "traceloop-openai-no-content": Sender(
        "opentelemetry-instrumentation-openai", "traceloop_openai", switches={"TRACELOOP_TRACE_CONTENT": "false"},
    ),
    "traceloop-langchain": Sender("opentelemetry-instrumentation-langchain", "traceloop_langchain"),
    "openai-v2-spans": Sender(
        "opentelemetry-instrumentation-openai-v2", "openai_v2", "v2", {**_NEWEST, _CONTENT: "SPAN_ONLY"}
    ),
    "openai-v2-events": Sender(
        "opentelemetry-instrumentation-openai-v2", "openai_v2", "v2", {**_NEWEST, _CONTENT: "EVENT_ONLY"}
    ),
    "openai-v2-both": Sender(
        "opentelemetry-instrumentation-openai-v2", "openai_v2", "v2", {**_NEWEST, _CONTENT: "SPAN_AND_EVENT"}
    ),
    "openai-v2-true": Sender("opentelemetry-instrumentation-openai-v2", "openai_v2", "v2", {_CONTENT: "true"}),
    "openai-v2-old": Sender("opentelemetry-instrumentation-openai-v2", "openai_v2", "v2_old", {_CONTENT: "true"}),
    "openai-v2-old-no-content": Sender("opentelemetry-instrumentation-openai-v2", "openai_v2", "v2_old"),
    "pydantic-ai": Sender("pydantic-ai-slim", "pydantic_agents"),
    "litellm": Sender("litellm", "litellm_own"),
    "mlflow-tracing": Sender(
        "mlflow-tracing", "mlflow_autolog",
        switches={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ),
}  # fmt: skip
