"""Templates, filters and headers of every page, and how a page answers an error."""

import hashlib
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from api.pages import vega
from api.pages.navigation import PATH, navigation
from governance.access.roles import Caller, Permission
from reports.charts.text import number
from reports.facts import runs
from reports.paths import without_paths
from reports.wording.phrases import brief_words, column_words, held_words, mean_words, unit_of, unit_words

# Found from this file, never by a name that a folder elsewhere may bear too.
FOLDER: Final = Path(__file__).parent
# No inline script, no inline style, nothing from another origin.
POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
STATIC: Final = {
    "assay.css": "text/css; charset=utf-8", "assay.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
}  # fmt: skip
SHAPES: Final = {
    "ok": "●", "alarm": "▲", "unknown": "×", "open": "▲", "acknowledged": "◐", "resolved": "●", "pass": "●",
    "fail": "▲", "critical": "▲", "warning": "△", "info": "○",
    "promoted": "●", "rejected": "▲", "failed": "▲", "champion": "●", "ready": "●", "queued": "○", "retired": "○",
    "fair": "●", "not fair": "▲", "cannot say": "×", "candidate": "○", "challenger": "○", "shadow": "○", "canary": "○",
}  # fmt: skip
CLASSES: Final = {"▲": "alarm", "△": "alarm", "●": "ok"}


def static(name: str) -> bytes:
    return (FOLDER / "static" / name).read_bytes()


@lru_cache(maxsize=8)
def _fingerprint(name: str) -> str:
    return hashlib.sha256(static(name)).hexdigest()[:12]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader((FOLDER / "templates", FOLDER)), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters.update(
        number=number, time=time, moment=moment, mark=mark, shape=shape,
        pct=lambda v: "–" if v is None else f"{100 * v:.1f}",
        short=lambda d: (d or "–").removeprefix("sha256:")[:12], pretty=lambda v: json.dumps(v, indent=2, default=str),
        said=said,
        nopath=without_paths,
        words=lambda text: str(text).replace("_", " "),
        in_script=in_script,
    )  # fmt: skip
    found.globals.update(
        static=lambda name: f"/static/{name}?v={_fingerprint(name)}",
        vega=lambda: f"/static/{vega.NAME}?v={vega.fingerprint()}", Permission=Permission, brief=brief_words,
        held=held_words, column_words=column_words, unit_words=unit_words,
        unit_of=unit_of, mean_words=mean_words, source=runs.source,
    )  # fmt: skip
    return found


def time(at: datetime | None) -> Markup | str:
    """A time in UTC, machine-readable too; the zone is written where the time is printed alone."""
    if at is None:
        return "–"
    moment = at.astimezone(UTC)
    said = f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M}</time>'
    return Markup(said)  # noqa: S704 - digits alone; a page has hundreds of times


def moment(text: str | None) -> Markup | str:
    """A time kept in JSON."""
    return time(datetime.fromisoformat(text) if text else None)


def said(sentence: str) -> Markup:
    """A sentence of the monitor: names between backticks are set as code."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def in_script(document: Any) -> Markup:
    """JSON that can stand within a script element: no text of it can end the element."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704 - escaped here


@lru_cache(maxsize=256)
def mark(word: str) -> Markup:
    """A status by shape, colour and word."""
    shape = SHAPES.get(word, "○")
    kind = CLASSES.get(shape, "muted")
    return Markup('<span class="status {}"><span aria-hidden="true">{}</span> {}</span>').format(
        kind, shape, word.replace("_", " ")
    )


@lru_cache(maxsize=256)
def shape(word: str) -> Markup:
    """The shape and colour of a status, beside words of one's own."""
    found = SHAPES.get(word, "○")
    return Markup('<span class="{}" aria-hidden="true">{}</span>').format(CLASSES.get(found, "muted"), found)


def page(template: str, *, caller: Caller | None, status: int = 200, **facts: Any) -> HTMLResponse:
    """A rendered page with the headers every page carries."""
    html = (
        _environment().get_template(template).render(caller=caller, frame_entries=navigation(caller, template), **facts)
    )
    headers = {
        "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
        "Cache-Control": "private, no-store",
    }  # fmt: skip
    return HTMLResponse(html, status, headers)


def refused(status: int, code: str, message: str, *, caller: Caller | None, known: bool = True) -> HTMLResponse:
    """The page of an error, with the navigation of the caller where there is one.

    Args:
        known: whether something is served at the path, so that its fault lies elsewhere.
    """
    return page("error.html", caller=caller, status=status, message=message, code=code, failed=status, known=known)


class PageRoute(APIRoute):
    """A route whose errors are pages for people instead of problem documents.

    The error is left to the handlers of the application: one that became an answer here would have what was written
    before it committed.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            PATH.set(request.url.path)
            request.state.page = True
            return await handle(request)

        return answer
