"""uvicorn's HTTP protocol with a bound on request line, headers and trailers, which its parser reads without end.

Decision 0016 has the figures and the alternatives.
"""

import json
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 << 10  # request line and headers together
_PROBLEM: Final = json.dumps(
    {
        "type": "urn:assay:problem:headers_too_large", "title": "Request Header Fields Too Large", "status": 431,
        "detail": f"request line and headers are larger than {MAX_HEAD_BYTES >> 10} KiB; send less of them",
        "code": "headers_too_large",
    }
).encode()  # fmt: skip
_RESPONSE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_PROBLEM), _PROBLEM)
)


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 and closes the connection once MAX_HEAD_BYTES have arrived of a head or of the trailers of a body.

    Bytes count as they arrive, before the parser has a whole header: one endless header is bounded too.
    """

    _head_bytes = 0  # received since a head, a part of a body or a request last ended
    _in_head = True
    _progressed = False  # one of these ended within the bytes just received

    def data_received(self, data: bytes) -> None:
        self._progressed = False
        super().data_received(data)
        self._head_bytes = 0 if self._progressed else self._head_bytes + len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_RESPONSE)
            self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer is dropped; uvicorn would append it to the headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._progressed = False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._progressed = True, True
        super().on_message_complete()
