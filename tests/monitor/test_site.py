"""Two installations open in one process, the second restored from a copy of the first: equal ids, other contents."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core import settings
from core.clock import ManualClock
from monitor import service
from monitor.ingest.media import NDJSON
from monitor.ingest.receive import Body, receive
from monitor.site import Site, open_site
from monitor.spec.model import ModelSpec
from tests.databases import SQLITE_ONLY
from tests.monitor.traffic import document, events_body, rows, spec


@pytest.fixture
def restore(site: Site, clock: ManualClock, tmp_path: Path) -> Iterator[Callable[[], Site]]:
    """Copy the home of `site` as it is now, and open the copy."""
    opened: list[Site] = []

    def copy() -> Site:
        site.database.forget()
        shutil.copytree(tmp_path / "home", tmp_path / "copy")
        opened.append(open_site(settings.load({}, home=tmp_path / "copy"), clock))
        return opened[-1]

    yield copy
    for one in opened:
        one.close()


def declare(site: Site, declared: ModelSpec) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, declared, "tester")


def owner(site: Site) -> tuple[int, str]:
    with site.database.read() as db:
        current = service.current_spec(site, db, "loans")
    return current.revision, current.spec.owner


@SQLITE_ONLY
def test_a_restored_copy_of_an_installation_reads_its_own_specs(site: Site, restore: Callable[[], Site]) -> None:
    declare(site, spec())
    copy = restore()
    declare(site, spec(owner="ann@example.com"))
    declare(copy, spec(owner="bob@example.com"))
    assert owner(site) == (2, "ann@example.com")
    assert owner(copy) == (2, "bob@example.com")


@SQLITE_ONLY
def test_a_restored_copy_checks_rows_by_its_own_columns(site: Site, restore: Callable[[], Site]) -> None:
    declare(site, spec())
    copy = restore()
    for where, kind in ((site, "category"), (copy, "number")):
        declare(where, spec(columns=document()["columns"] | {"extra": {"role": "input", "type": kind}}))
    body = Body(events_body(rows(20)).replace(b'{"', b'{"extra":"text","'), NDJSON)
    assert receive(site, "loans", "events", body).accepted == 20
    assert receive(copy, "loans", "events", body).rejected_total == 20
