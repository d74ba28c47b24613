#!/usr/bin/env bash
# mlflow-tracing 3.17.2: with OpenTelemetry's own settings for OTLP it exports nothing, mostly without a word.
#
# The package is MLflow's tracing alone, made for production, and exports over OTLP where OpenTelemetry's variables name
# an endpoint. Expected: with `OTEL_EXPORTER_OTLP_ENDPOINT`, the variable for all signals, and nothing else, each span
# arrives. Seen on 2026-11-28 with Python 3.11 and opentelemetry-exporter-otlp-proto-http 1.45.2: every span is dropped.
# Without a tracking URI the search for a default one imports `sqlparse`, which the package does not depend on; the
# failure is logged at level DEBUG. With a tracking URI a name is missing that only the full package imports. With the variable for traces alone and any tracking
# URI, which is not called, the span is exported. Output:
#     endpoint for all signals:               0 spans
#     ... and a tracking URI:                 0 spans, warns: name 'default_experiment_registry' is not defined
#     endpoint for traces:                    0 spans
#     ... and a tracking URI:                 1 span
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check mlflow-tracing==3.17.2 \
  opentelemetry-exporter-otlp-proto-http==1.45.2
cat > "$folder/send.py" <<'PYTHON'
import mlflow
from mlflow.tracing.provider import provider

with mlflow.start_span("ask") as span:
    span.set_inputs({"question": "hi"})
if provider.get() is not None:
    provider.get().force_flush()
PYTHON
cd "$folder"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

folder, arrived = sys.argv[1], []


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            message = ExportTraceServiceRequest.FromString(body)
            arrived.extend(s.name for r in message.resource_spans for scope in r.scope_spans for s in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_address[1]}"
everything = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
traces = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
tracked = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
cases = {
    "endpoint for all signals:": everything | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
    "... and a tracking URI:": everything | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"} | tracked,
    "endpoint for traces:": traces,
    "... and a tracking URI: ": traces | tracked,
}
seen = []
for name, settings in cases.items():
    arrived.clear()
    environ = {"PATH": os.environ["PATH"], "HOME": folder, "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, f"{folder}/send.py"], env=environ | settings, capture_output=True, text=True, cwd=folder
    )
    warned = re.search(r"Failed to \w+ span[^:]*: (.*?)\. For full", done.stderr)
    seen.append((len(arrived), warned[1] if warned else ""))
    print(f"{name:<40}{len(arrived)} span{'s' * (len(arrived) != 1)}" + (f", warns: {warned[1]}" if warned else ""))
server.shutdown()
undefined = "name 'default_experiment_registry' is not defined"
assert seen == [(0, ""), (0, undefined), (0, ""), (1, "")], "the behaviour has changed"
print("as stated")
PYTHON
