"""What every route declares: the permission it needs and what it is about. docs/security.md has the table.

`python -m api.route_table` prints that page with its tables as the code declares them.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import BaseRoute

from api.http.auth import PUBLIC_PATHS, Requires
from governance.access.roles import PERMISSIONS, Permission

PAGE: Final = Path("docs/security.md")
BEGIN, END = "<!-- made by make docs -->", "<!-- end of what make docs made -->"


@dataclass(frozen=True, slots=True, order=True)
class Declared:
    """One method of one path; `permission` is None for what is open to all."""

    path: str
    method: str
    permission: str | None
    reach: str


def declarations(routes: Sequence[BaseRoute]) -> list[Declared]:
    """Every route that is public or declares a permission, in order of its path."""
    found = set[Declared]()
    for route in iter_route_contexts(routes):
        needs, path = _needs(route), route.path or ""
        for method in sorted((getattr(route, "methods", None) or {"GET"}) - {"HEAD"}):
            if needs is not None:
                found.add(Declared(path, method, needs.permission.value, needs.reach.value))
            elif _is_public(path):
                found.add(Declared(path, method, None, "-"))
    return sorted(found)


def undeclared(routes: Sequence[BaseRoute]) -> list[str]:
    """Return the paths of routes that are not public and declare no permission."""
    found = [(route.path or "", route) for route in iter_route_contexts(routes)]
    return [path for path, route in found if _needs(route) is None and not _is_public(path)]


def tables(routes: Sequence[BaseRoute]) -> str:
    """The two tables of docs/security.md: permissions by role, and routes by permission."""
    lines = ["| permission | roles |", "|---|---|"]
    for right in Permission:
        roles = ", ".join(role.value for role, granted in PERMISSIONS.items() if right in granted)
        lines.append(f"| `{right.value}` | {roles} |")
    lines += ["", "| method | route | permission | about |", "|---|---|---|---|"]
    for one in declarations(routes):
        permission = "none" if one.permission is None else f"`{one.permission}`"
        lines.append(f"| {one.method} | `{one.path}` | {permission} | {one.reach} |")
    return "\n".join(lines)


def with_tables(page: str, made: str) -> str:
    """The page with its tables replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def _is_public(path: str) -> bool:
    return any(path == public or path.startswith(public + "/") for public in PUBLIC_PATHS)


def _needs(route: RouteContext) -> Requires | None:
    waiting = [getattr(route, "dependant", None)]
    while waiting:
        dependant = waiting.pop()
        if dependant is None:
            continue
        if isinstance(dependant.call, Requires):
            return dependant.call
        waiting += dependant.dependencies
    return None


def main() -> None:
    from fastapi import FastAPI

    from api import pages, routes

    app = FastAPI(openapi_url=None)
    for router in (*routes.DIRECT_ROUTERS, *routes.ROUTERS, *pages.ROUTERS):
        app.include_router(router)
    sys.stdout.write(with_tables(PAGE.read_text(), tables(app.routes)))


if __name__ == "__main__":
    main()
