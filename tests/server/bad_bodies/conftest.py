"""One service per test process receives every bad body; each module settles its account at its end."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.server.bad_bodies.rows import good_body
from tests.server.bad_bodies.target import LIMIT_MB, ROUTES, TIMEOUT_S, Target, table_of
from tests.service import Service


@pytest.fixture(scope="session")
def service_of_bad_bodies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    limits = {"ASSAY_SERVER__MAX_BODY_MB": str(LIMIT_MB)}
    service = Service(tmp_path_factory.mktemp("bad") / "home", environ=limits)
    service.start()
    try:
        with httpx2.Client(base_url=service.url, headers=service.headers(), timeout=TIMEOUT_S) as http:
            target = Target(service, http)
            target.prepare()
            yield target
    finally:
        service.stop()
    target.check_log()


@pytest.fixture(scope="module")
def target(service_of_bad_bodies: Target, request: pytest.FixtureRequest) -> Iterator[Target]:
    """Takes the bodies of a module. Afterwards it is alive, takes good bodies, and holds what it accepted, no more."""
    target = service_of_bad_bodies
    failed, before = request.session.testsfailed, target.counts()
    known = {table: len(ids) for table, ids in target.accepted.items()}
    yield target
    if request.session.testsfailed > failed:
        return  # the account cannot be right
    for route, (path, form) in ROUTES.items():
        body, ids = good_body(target, route)
        assert target.send(path, body, form).status_code == 200, route
        target.accept(route, ids)
    assert target.http.get("/healthz").json() == {"status": "ok"}
    after = target.counts()
    for table in map(table_of, ROUTES):
        more = len(target.accepted[table]) - known.get(table, 0)
        assert after[table] - before.get(table, 0) == more, table
    target.check_tables()
    target.check_log()
