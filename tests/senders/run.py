"""Run the program of a sender, in its own environment, against the local model."""

import os
import subprocess
import sys
from pathlib import Path

from tests.senders.model_server import model_server
from tests.senders.recorder import Export, recorder
from tests.senders.senders import FOLDER, Sender

ENVIRONMENTS = Path(os.environ.get("SENDERS", Path(sys.prefix) / "senders"))
LIMIT_S = 180
# No sender asks the network for anything but the model and the receiver.
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True", "TRACELOOP_TELEMETRY": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1", "OPENAI_API_KEY": "none", "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip


def run(sender: Sender, name: str, service: tuple[str, str] | None = None) -> list[Export]:
    """Run one sender's program against the local model; returns what it sent, which the service got too."""
    with model_server() as model, recorder(service) as kept:
        environ = {
            "PATH": os.environ["PATH"], "HOME": str(ENVIRONMENTS), **_QUIET, "MODEL_URL": model,
            "OPENAI_BASE_URL": model,
            "CASES_URL": f"{kept.url}/case", "OTEL_SERVICE_NAME": name, "OTEL_EXPORTER_OTLP_ENDPOINT": kept.url,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{kept.url}/v1/traces",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER": "otlp_http", "OTEL_ENDPOINT": kept.url,
            **sender.switches,
        }  # fmt: skip
        done = subprocess.run(
            [ENVIRONMENTS / sender.environment / "bin" / "python", FOLDER / "programs" / f"{sender.program}.py"],
            env=environ, check=False, timeout=LIMIT_S, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode or os.environ.get("VERBOSE"):
            print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
        return [one for one in kept.exports if one.signal != "metrics"]


def version(sender: Sender) -> str:
    """The version that its environment holds."""
    code = f"import importlib.metadata as m; print(m.version({sender.package!r}))"
    python = ENVIRONMENTS / sender.environment / "bin" / "python"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
