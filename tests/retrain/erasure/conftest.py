"""A site where a person is everywhere: made once for each kind of database, copied for each test."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from core import settings
from core.clock import ManualClock
from monitor.site import Site, open_site
from tests.conftest import START
from tests.retrain.erasure.image import Image
from tests.retrain.erasure.person import move_in


@dataclass(frozen=True)
class LivedIn:
    image: Image
    now: datetime


@pytest.fixture(scope="session")
def lived_in_image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], LivedIn]:
    made: dict[str, LivedIn] = {}

    def make(kind: str) -> LivedIn:
        folder, clock = tmp_path_factory.mktemp(f"lived-in-{kind}"), ManualClock(START)
        home, server = folder / "home", None
        home.mkdir()
        if kind == "sqlite":
            shutil.copyfile(request.getfixturevalue("sqlite_template"), home / "assay.db")
            url = f"sqlite:///{home / 'assay.db'}"
        else:
            server = request.getfixturevalue("postgres_server")
            url = server.url(server.create(template=request.getfixturevalue("postgres_template")))
        site = open_site(settings.load({}, home=home, db=settings.DbSettings.model_validate({"url": url})), clock)
        move_in(site, folder, clock)
        site.database.dispose()
        return LivedIn(Image(site, folder / "image", server), clock.now())

    def image(kind: str) -> LivedIn:
        if kind not in made:
            made[kind] = make(kind)
        return made[kind]

    return image


@pytest.fixture
def lived_in(site: Site, clock: ManualClock, lived_in_image: Callable[[str], LivedIn]) -> Iterator[Site]:
    """A site where Ada is everywhere: events, outcomes, quarantine, baseline, alert, datasets, predictions, words."""
    made = lived_in_image(site.database.engine.dialect.name)
    site.database.dispose()
    made.image.lay(site)
    clock.move_to(made.now)
    reopened = open_site(site.settings, clock)
    yield reopened
    reopened.database.dispose()
