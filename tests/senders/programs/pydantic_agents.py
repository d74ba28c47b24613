from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from sending import FAILING, MODEL, MODEL_URL, QUESTION, TOOL_QUESTION, get_weather, run, telemetry

flush = telemetry()
Agent.instrument_all(InstrumentationSettings())
provider = OpenAIProvider(base_url=MODEL_URL, api_key="none")
chat, responses = OpenAIChatModel(MODEL, provider=provider), OpenAIResponsesModel(MODEL, provider=provider)


def ask(question, model=chat, tools=()):
    return lambda: Agent(model, name="helper", instructions="be brief", tools=list(tools)).run_sync(question)


def stream():
    for _ in Agent(chat, name="helper", instructions="be brief").run_stream_sync(QUESTION).stream_text():
        pass


run(
    flush,
    chat=ask(QUESTION),
    stream=stream,
    tool=ask(TOOL_QUESTION, tools=[get_weather]),
    failed=ask(FAILING),
    responses=ask(QUESTION, responses),
)
