from openinference.instrumentation.langchain import LangChainInstrumentor
from sending import langchain_cases, run, telemetry

flush = telemetry()
LangChainInstrumentor().instrument()
run(flush, **langchain_cases())
