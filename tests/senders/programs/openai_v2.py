from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from sending import openai_cases, run, telemetry

flush = telemetry()
OpenAIInstrumentor().instrument()
run(flush, **openai_cases())
