"""How OpenTelemetry spans become rows of a model."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from monitor.spec.base import SpecPart

SpanKind = Literal[
    "llm", "agent", "tool", "chain", "retriever", "reranker", "embedding", "guardrail", "evaluator", "other"
]


Sources = str | tuple[str, ...]


class Traces(SpecPart):
    """Which OpenTelemetry spans are events of this model, and where each column finds its value in them."""

    service: str = Field(
        min_length=1,
        max_length=255,
        description="service.name of the resource that sends the spans",
        examples=["shop-bot"],
    )
    spans: tuple[SpanKind, ...] = Field(
        ("llm",), min_length=1, description="kinds of spans that become events", examples=["[llm, agent]"]
    )
    where: Mapping[str, str] = Field(
        default_factory=dict,
        description="attributes that a span must have, with their values",
        examples=["{gen_ai.agent.name: router}"],
    )
    version: Sources | None = Field(
        None,
        description="fields or attributes that hold the version; without it, the model that answered",
        examples=["service_version"],
    )
    fallback_version: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$",
        description="version of a call whose span names none; without it, a failed call gets `unknown` and any other "
        "is rejected",
        examples=["unknown"],
    )
    columns: Mapping[str, Sources] = Field(
        default_factory=dict,
        description="by column: fields or attributes of a span; the first one present is used",
        examples=["{tenant: [app.tenant, deployment.environment]}"],
    )
