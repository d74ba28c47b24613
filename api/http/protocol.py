"""uvicorn's HTTP protocol with a bound on what stands before a body: its parser takes headers without end."""

import json
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD: Final = 64 << 10  # bytes
_DETAIL: Final = f"request line and headers are larger than {LONGEST_HEAD >> 10} KiB; send less of them"
_BODY: Final = json.dumps(
    {
        "type": "urn:assay:problem:headers_too_large", "title": "Request Header Fields Too Large", "status": 431,
        "detail": _DETAIL, "code": "headers_too_large",
    }
).encode()  # fmt: skip
_ANSWER: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_BODY), _BODY)
)


class BoundedProtocol(HttpToolsProtocol):
    _head = 0  # bytes received since the last request ended, while none has begun its body
    _in_head = True
    _moved = False  # a head ended within the bytes just received

    def data_received(self, data: bytes) -> None:
        self._moved, in_head = False, self._in_head
        super().data_received(data)
        if in_head and self._in_head and not self._moved:
            self._head += len(data)
            if self._head > LONGEST_HEAD and not self.transport.is_closing():
                self.transport.write(_ANSWER)
                self.transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what comes after a body in chunks is left out, not taken for a header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head, self._in_head, self._moved = 0, False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()
