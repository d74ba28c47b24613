"""Every route says who may use it, and every role may do what the page about roles says."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from api.app import create_app
from api.http.auth import PUBLIC_PATHS, requires
from api.http.reach import MODEL_NAMES, OWNERS, Reach
from api.route_table import declarations, tables, undeclared
from governance.access.roles import PERMISSIONS, Caller, Permission, Role
from monitor.site import Site
from tests.databases import SQLITE_FIRST

PUBLIC_ROUTES = {"/healthz", "/readyz", "/login", "/logout", "/static", "/api/v1/schema/spec", "/api/v1/witness"}


@SQLITE_FIRST
def test_every_route_declares_a_permission_or_is_on_the_public_list(site: Site) -> None:
    app = create_app(site)
    assert "/api/v1/models/{model}/events" in {route.path for route in iter_route_contexts(app.routes)}
    assert undeclared(app.routes) == []
    assert PUBLIC_PATHS == PUBLIC_ROUTES


@SQLITE_FIRST
def test_what_is_about_one_model_names_it_and_the_page_lists_what_is_declared(site: Site) -> None:
    app = create_app(site)
    for one in declarations(app.routes):
        named = [part for part in (*MODEL_NAMES, *OWNERS) if f"{{{part}}}" in one.path or f"{{{part}:" in one.path]
        if one.reach == Reach.MODEL:
            assert named, f"{one.method} {one.path} is about a model: name it, or declare another reach"
    assert tables(app.routes) in Path("docs/security.md").read_text(), "run `make docs`"


def test_a_route_without_a_permission_is_found() -> None:
    app, router = FastAPI(openapi_url=None), APIRouter()

    @router.get("/open")
    def open_to_all() -> None: ...

    @router.get("/guarded")
    def guarded(caller: Annotated[Caller, requires(Permission.READ)]) -> None: ...

    @router.get("/healthzz")
    def looks_public() -> None: ...

    app.include_router(router)
    assert undeclared(app.routes) == ["/open", "/healthzz"]


def test_the_roles_are_kept_apart() -> None:
    assert PERMISSIONS.keys() == set(Role)
    changing = {
        Permission.MODEL_WRITE,
        Permission.DATASET_WRITE,
        Permission.RUN_START,
        Permission.EVENTS_WRITE,
        Permission.ALERT_WRITE,
    }
    assert not PERMISSIONS[Role.VALIDATOR] & (changing | {Permission.RUN_APPROVE, Permission.VERSION_MOVE})
    assert not PERMISSIONS[Role.APPROVER] & changing
    assert Permission.RUN_APPROVE not in PERMISSIONS[Role.OPERATOR]
    reading = {p for p in Permission if p.value.endswith("read")} - {Permission.KEY_MANAGE}
    assert PERMISSIONS[Role.COMPLIANCE] == reading
    assert {r for r in Role if Permission.KEY_MANAGE in PERMISSIONS[r]} == {Role.ADMIN}
    assert Permission.READ not in PERMISSIONS[Role.PRODUCER]
