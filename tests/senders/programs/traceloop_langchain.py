from opentelemetry.instrumentation.langchain import LangchainInstrumentor
from sending import langchain_cases, run, telemetry

flush = telemetry()
LangchainInstrumentor().instrument()
run(flush, **langchain_cases())
