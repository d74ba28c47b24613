from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from sending import openai_cases, run, telemetry

flush = telemetry()
OpenAIInstrumentor(use_legacy_attributes=False).instrument()
run(flush, **openai_cases())
