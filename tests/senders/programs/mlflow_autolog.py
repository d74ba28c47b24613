import mlflow
import mlflow.openai
from mlflow.tracing.provider import provider
from sending import openai_cases, run

mlflow.openai.autolog()


def flush():
    mlflow.flush_trace_async_logging()
    provider.get().force_flush()


run(flush, **openai_cases())
