from openinference.instrumentation.openai import OpenAIInstrumentor
from sending import openai_cases, run, telemetry

flush = telemetry()
OpenAIInstrumentor().instrument()
run(flush, **openai_cases())
