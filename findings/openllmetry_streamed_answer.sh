#!/usr/bin/env bash
# opentelemetry-instrumentation-openai 0.62.4 (OpenLLMetry): with events, the answer of a stream names no span.
#
# With `use_attributes=False` prompts and answers are emitted as log records `gen_ai.user.message` and `gen_ai.choice`,
# which a backend joins to the span of the call by trace id and span id. Expected: both records of a call have the ids of
# its span, streamed or not. Seen on 2026-11-28 with Python 3.11, openai 3.57.0 and opentelemetry-sdk 1.45.2: of a
# streamed call the question has them, and the answer has a trace id and a span id of zeros, so that nobody can tell whose
# answer it is. Output:
#     plain:    question names the span, answer names the span
#     streamed: question names the span, answer names no span
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check opentelemetry-instrumentation-openai==0.62.4 \
  openai==3.57.0 opentelemetry-sdk==1.45.2 "httpx<1"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from opentelemetry import _logs, trace
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

BASE = {"id": "c", "created": 1, "model": "m"}


class Model(BaseHTTPRequestHandler):
    """Answers every chat completion with `hello`."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        streamed = asked.get("stream")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.end_headers()
        message = {"role": "assistant", "content": "hello"}
        end = {"index": 0, "finish_reason": "stop"}
        if not streamed:
            document = {**BASE, "object": "chat.completion", "choices": [{**end, "message": message}]}
            self.wfile.write(json.dumps(document).encode())
            return
        for choice in ({"index": 0, "delta": message, "finish_reason": None}, {**end, "delta": {}}):
            chunk = {**BASE, "object": "chat.completion.chunk", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
trace.set_tracer_provider(TracerProvider())
kept, loggers = InMemoryLogRecordExporter(), LoggerProvider()
loggers.add_log_record_processor(SimpleLogRecordProcessor(kept))
_logs.set_logger_provider(loggers)
OpenAIInstrumentor(use_attributes=False).instrument()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_address[1]}/v1", api_key="none")
seen = {}
for name, more in (("plain", {}), ("streamed", {"stream": True})):
    kept.clear()
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], **more)
    list(answer) if more else None
    found = {r.log_record.event_name: r.log_record.span_id for r in kept.get_finished_logs()}
    seen[name] = [bool(found[f"gen_ai.{event}"]) for event in ("user.message", "choice")]
    said = ["names the span" if ids else "names no span" for ids in seen[name]]
    print(f"{name + ':':<9} question {said[0]}, answer {said[1]}")
server.shutdown()
assert seen == {"plain": [True, True], "streamed": [True, False]}, "the behaviour has changed"
print("as stated")
PYTHON
