"""Files that are handed out: their names in every script, and no second copy for who has the same bytes."""

from collections.abc import Callable
from urllib.parse import quote

from fastapi import Request, Response

from reports.file_names import ascii_of


def disposition(name: str) -> str:
    """`attachment` with the name in ASCII, and as it is by RFC 6266 and 8187 where that differs."""
    plain = ascii_of(name)
    header = f'attachment; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


def answered(
    request: Request, *, name: str, digest: str, media_type: str, content: Callable[[], bytes],
    before: Callable[[], None],
) -> Response:  # fmt: skip
    """The file, or 304 for whoever sends its digest in `If-None-Match`.

    Args:
        before: called once the content is known to be whole, and before it is handed out.
    """
    tag = f'"{digest.removeprefix("sha256:")}"'
    sent = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tag in sent:
        return Response(status_code=304, headers={"ETag": tag})
    found = content()
    before()
    headers = {
        "Content-Disposition": disposition(name), "X-Content-Type-Options": "nosniff", "ETag": tag,
        "Cache-Control": "private, no-cache",
    }  # fmt: skip
    return Response(found, media_type=media_type, headers=headers)
