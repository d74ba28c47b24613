from openinference.instrumentation.litellm import LiteLLMInstrumentor
from sending import litellm_cases, run, telemetry

flush = telemetry()
LiteLLMInstrumentor().instrument()
run(flush, **litellm_cases())
