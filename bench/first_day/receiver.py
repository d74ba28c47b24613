"""Print what a channel delivers: `python -m bench.first_day.receiver`, with `ASSAY_CHANNELS__HERE=json://127.0.0.1:8099`."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final

PORT: Final = 8099


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.end_headers()
        message = json.loads(body)
        print(f"\n== {message.get('title')}\n{message.get('message')}", flush=True)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    print(f"waiting on 127.0.0.1:{PORT}", flush=True)
    HTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
