"""What every program needs: OpenTelemetry set up as its documentation says, and one case after the other.

It runs in the environment of a sender, so it imports nothing of this project. Where to send comes from OpenTelemetry's
own variables; the model is at MODEL_URL. Before each case its name is told to CASES_URL.
"""

import os
import sys
import time
import urllib.request

QUESTION = "where is my parcel"
TOOL_QUESTION = "what will the weather be in Paris"
FAILING = "fail on this one"
MODEL = "gpt-4o-mini"
EMBEDDER = "text-embedding-3-small"
MODEL_URL = os.environ["MODEL_URL"]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"rain in {city}"


def telemetry():
    """Spans and log records in batches, over HTTP; returns what to flush."""
    from opentelemetry import trace
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    tracers, loggers = TracerProvider(), LoggerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    trace.set_tracer_provider(tracers)
    set_logger_provider(loggers)
    try:
        from opentelemetry._events import set_event_logger_provider
        from opentelemetry.sdk._events import EventLoggerProvider

        set_event_logger_provider(EventLoggerProvider(loggers))
    except ImportError:  # newer versions log events as log records
        pass

    def flush() -> None:
        tracers.force_flush()
        loggers.force_flush()

    return flush


def run(flush, **cases) -> None:
    """Run each case; one may fail, as its model does."""
    for name, case in cases.items():
        urllib.request.urlopen(f"{os.environ['CASES_URL']}/{name}", data=b"")
        try:
            case()
        except Exception as error:  # noqa: BLE001 - whatever a client raises
            if name != "failed":
                print(f"{name}: {type(error).__name__}: {str(error)[:2000]}", file=sys.stderr)
        flush()
    time.sleep(0.2)


def client():
    """OpenAI's client, told where the model is."""
    import openai

    return openai.OpenAI(base_url=MODEL_URL, api_key="none", max_retries=0)


def openai_cases():
    """The cases of OpenAI's client."""
    asks = client()
    user = [{"role": "system", "content": "be brief"}, {"role": "user", "content": QUESTION}]

    def chat():
        asks.chat.completions.create(model=MODEL, messages=user)

    def stream():
        for _ in asks.chat.completions.create(model=MODEL, messages=user, stream=True):
            pass

    def stream_usage():
        options = {"include_usage": True}
        for _ in asks.chat.completions.create(model=MODEL, messages=user, stream=True, stream_options=options):
            pass

    def tool():
        asks.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": TOOL_QUESTION}], tools=[TOOL])

    def failed():
        asks.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": FAILING}])

    def responses():
        asks.responses.create(model=MODEL, instructions="be brief", input=QUESTION)

    def embeddings():
        asks.embeddings.create(model=EMBEDDER, input=QUESTION)

    return {
        "chat": chat,
        "stream": stream,
        "stream_usage": stream_usage,
        "tool": tool,
        "failed": failed,
        "responses": responses,
        "embeddings": embeddings,
    }


def langchain_cases():
    """The cases of LangChain's OpenAI integration."""
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_core.tools import tool as as_tool
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=MODEL, base_url=MODEL_URL, api_key="none", max_retries=0, stream_usage=False)
    reporting = ChatOpenAI(model=MODEL, base_url=MODEL_URL, api_key="none", max_retries=0, stream_usage=True)
    user = [SystemMessage("be brief"), HumanMessage(QUESTION)]

    def stream(of):
        for _ in of.stream(user):
            pass

    return {
        "chat": lambda: model.invoke(user),
        "stream": lambda: stream(model),
        "stream_usage": lambda: stream(reporting),
        "tool": lambda: model.bind_tools([as_tool(get_weather)]).invoke([HumanMessage(TOOL_QUESTION)]),
        "failed": lambda: model.invoke([HumanMessage(FAILING)]),
    }


def litellm_cases():
    """The cases of LiteLLM."""
    import asyncio

    import litellm

    to = {"model": f"openai/{MODEL}", "api_base": MODEL_URL, "api_key": "none", "max_retries": 0}
    user = [{"role": "system", "content": "be brief"}, {"role": "user", "content": QUESTION}]

    def stream(**more):
        for _ in litellm.completion(messages=user, stream=True, **to, **more):
            pass

    async def asynchronous():
        await litellm.acompletion(messages=user, **to)
        await asyncio.sleep(1)

    return {
        "chat": lambda: litellm.completion(messages=user, **to),
        "async": lambda: asyncio.run(asynchronous()),
        "stream": stream,
        "stream_usage": lambda: stream(stream_options={"include_usage": True}),
        "tool": lambda: litellm.completion(messages=[{"role": "user", "content": TOOL_QUESTION}], tools=[TOOL], **to),
        "failed": lambda: litellm.completion(messages=[{"role": "user", "content": FAILING}], **to),
        "responses": lambda: litellm.responses(instructions="be brief", input=QUESTION, **to),
        "embeddings": lambda: litellm.embedding(input=[QUESTION], **(to | {"model": f"openai/{EMBEDDER}"})),
    }
