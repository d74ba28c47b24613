"""A model behind OpenAI's HTTP interface: chat completions, streamed or not, responses and embeddings.

It answers every question alike, so that what a client's instrumentation sends is the same in every run. A question with
`fail` in it is refused; where tools are offered and none was called yet, it calls the first one.
"""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

ANSWER: Final = "it is on its way"
TOOL_ANSWER: Final = "it will rain"
MODEL: Final = "gpt-4o-mini-2024-07-18"  # the name of the answers, whatever was asked for
_CREATED: Final = 1_764_000_000
_USAGE: Final = {
    "prompt_tokens": 21, "completion_tokens": 7, "total_tokens": 28,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
}  # fmt: skip


@contextlib.contextmanager
def model_server() -> Iterator[str]:
    """Serve on a free port; gives the base URL of the interface."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "fail" in json.dumps(asked.get("messages", asked.get("input", ""))):
            error = {"message": "the question is too long", "type": "invalid_request_error",
                     "param": "messages", "code": "context_length_exceeded"}  # fmt: skip
            return self._send(400, {"error": error})
        match self.path.removeprefix("/v1"):
            case "/chat/completions" if asked.get("stream"):
                return self._stream(asked)
            case "/chat/completions":
                return self._send(200, _completion(asked))
            case "/responses":
                return self._send(200, _response(asked))
            case "/embeddings":
                return self._send(200, _embeddings(asked))
        return self._send(404, {"error": {"message": f"nothing at {self.path}", "type": "not_found"}})

    def _send(self, status: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-request-id", "req-1")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, asked: Mapping[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in _chunks(asked):
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def _message(asked: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The message of the answer and why it ends."""
    if not asked.get("tools"):
        return {"role": "assistant", "content": ANSWER, "refusal": None}, "stop"
    if any(m["role"] == "tool" for m in asked["messages"]):
        return {"role": "assistant", "content": TOOL_ANSWER, "refusal": None}, "stop"
    function = {"name": asked["tools"][0]["function"]["name"], "arguments": '{"city": "Paris"}'}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}, "tool_calls"


def _completion(asked: Mapping[str, Any]) -> dict[str, Any]:
    message, reason = _message(asked)
    choices = [
        {"index": i, "message": message, "finish_reason": reason, "logprobs": None} for i in range(asked.get("n") or 1)
    ]
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": _CREATED, "model": MODEL, "choices": choices,
        "usage": _USAGE, "service_tier": "default", "system_fingerprint": "fp_1",
    }  # fmt: skip


def _chunks(asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": _CREATED, "model": MODEL}
    message, reason = _message(asked)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": f"{word} "} for word in (message["content"] or "").split()]
    if message["content"]:
        deltas[-1]["content"] = deltas[-1]["content"].strip()
    deltas += [{"tool_calls": [{"index": i, **call}]} for i, call in enumerate(message.get("tool_calls", []))]
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    if (asked.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _USAGE}


def _response(asked: Mapping[str, Any]) -> dict[str, Any]:
    given = asked["input"] if isinstance(asked["input"], list) else []
    called = any(item.get("type") == "function_call_output" for item in given)
    output: list[dict[str, Any]] = [{"id": "rs_1", "type": "reasoning", "summary": []}]
    if asked.get("tools") and not called:
        output.append({
            "id": "fc_1", "type": "function_call", "call_id": "call_1", "name": asked["tools"][0]["name"],
            "arguments": '{"city": "Paris"}', "status": "completed",
        })  # fmt: skip
    else:
        text = TOOL_ANSWER if called else ANSWER
        content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
        output.append({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                       "content": content})  # fmt: skip
    usage = {
        "input_tokens": 21, "output_tokens": 7, "total_tokens": 28,
        "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    return {
        "id": "resp_1", "object": "response", "created_at": _CREATED, "status": "completed", "error": None,
        "incomplete_details": None, "instructions": asked.get("instructions"), "max_output_tokens": None,
        "model": MODEL, "output": output, "parallel_tool_calls": True, "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None}, "store": False, "temperature": 1.0,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": asked.get("tools") or [], "top_p": 1.0,
        "truncation": "disabled", "usage": usage, "user": None, "metadata": {},
    }  # fmt: skip


def _embeddings(asked: Mapping[str, Any]) -> dict[str, Any]:
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [{"object": "embedding", "index": i, "embedding": [0.25, -0.5, 1.0]} for i in range(len(texts))]
    return {"object": "list", "data": data, "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": 5, "total_tokens": 5}}  # fmt: skip
