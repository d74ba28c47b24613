"""Forms that bring a file (multipart/form-data, RFC 7578), whole in memory and within the limits of the body."""

import re
from dataclasses import dataclass
from typing import Final

from core.errors import InvalidError

MAX_PARTS: Final = 20
MAX_HEAD: Final = 8_192  # bytes of the headers of one part
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME: Final = re.compile(r'\bname="([^"]{1,100})"')
_FILE: Final = re.compile(r'\bfilename="([^"]{0,300})"')


@dataclass(frozen=True, slots=True)
class Part:
    """`file` is the name of a file, None of a plain field."""

    content: bytes
    file: str | None

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace").strip()


def parts_of(content_type: str, body: bytes) -> dict[str, Part]:
    """The parts by name; of several with one name, the last.

    Raises:
        InvalidError: the body is no such form.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise InvalidError("Content-Type has no boundary; send the form as browsers do", field="Content-Type")
    mark = b"--" + (found[1] or found[2]).encode("ascii", "replace")
    parts: dict[str, Part] = {}
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    while len(parts) < MAX_PARTS and body[at : at + len(mark)] == mark:
        start = at + len(mark)
        if body[start : start + 2] == b"--":
            return parts
        head = body.find(b"\r\n\r\n", start, start + MAX_HEAD)
        end = body.find(b"\r\n" + mark, head)
        if head < 0 or end < 0:
            break
        said = body[start:head].decode("utf-8", "replace")
        name, file = _NAME.search(said), _FILE.search(said)
        if name is not None:
            parts[name[1]] = Part(body[head + 4 : end], file[1] if file is not None else None)
        at = end + 2
    raise InvalidError("the form is cut short, or has too many parts; send it again", field="form")
