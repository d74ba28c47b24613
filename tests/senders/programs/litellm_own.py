import time

import litellm
from sending import litellm_cases, run

litellm.callbacks = ["otel"]


def flush():
    from opentelemetry import trace

    time.sleep(0.5)  # the callback runs in a thread of its own
    trace.get_tracer_provider().force_flush()


run(flush, **litellm_cases())
