"""Verify a bundle in the browser: an upload is checked by the offline verifier, in a process apart."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from api.http.auth import requires
from api.http.deps import SiteDep, body_of
from api.http.multipart import parts_of
from api.http.reach import Reach
from api.pages.render import PageRoute, page
from api.pages.reports.one import own_keys
from core.errors import InvalidError
from governance.access.roles import Caller, Permission
from reports.checking import MAX_MB, check

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Reader = Annotated[Caller, requires(Permission.READ, Reach.SERVICE)]


@router.get("/reports/verify")
def verify_page(caller: Reader, site: SiteDep) -> HTMLResponse:
    return page("reports/verify.html", caller=caller, checked=None, name=None, vkey=site.keys.vkey, most=MAX_MB)


@router.post("/reports/verify")
def verify_upload(
    caller: Reader, site: SiteDep, request: Request,
    body: Annotated[bytes, Depends(body_of("multipart/form-data", limit_mb=MAX_MB))],
) -> HTMLResponse:  # fmt: skip
    parts = parts_of(request.headers.get("content-type", ""), body)
    bundle, given = parts.get("bundle"), parts.get("key")
    if bundle is None or not bundle.content:
        raise InvalidError("bundle: no file was chosen; choose the zip of a report", field="bundle")
    keys = given.text.split() if given is not None else []
    trusted = own_keys(site) if keys == [site.keys.vkey] else keys or None
    name = (bundle.file or "bundle.zip").replace("\\", "/").rpartition("/")[2][:100] or "bundle.zip"
    return page(
        "reports/verify.html", caller=caller, checked=check(bundle.content, name, trusted), name=name,
        vkey=site.keys.vkey, most=MAX_MB,
    )  # fmt: skip
