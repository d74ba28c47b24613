from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from openai import AsyncOpenAI
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
from sending import FAILING, MODEL, MODEL_URL, QUESTION, TOOL_QUESTION, get_weather, run, telemetry

flush = telemetry()
OpenAIAgentsInstrumentor().instrument(exclusive_processor=True)
asks = AsyncOpenAI(base_url=MODEL_URL, api_key="none", max_retries=0)
responses, chat = OpenAIResponsesModel(MODEL, asks), OpenAIChatCompletionsModel(MODEL, asks)


def ask(question, model, tools=()):
    return lambda: Runner.run_sync(Agent("helper", instructions="be brief", model=model, tools=list(tools)), question)


run(
    flush,
    chat=ask(QUESTION, chat),
    tool=ask(TOOL_QUESTION, chat, [function_tool(get_weather)]),
    failed=ask(FAILING, responses),
    responses=ask(QUESTION, responses),
)
