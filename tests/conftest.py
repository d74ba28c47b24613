"""What every test may ask for: databases, an open site, a running service, the public data."""

import os

# Before any library is imported: no network, no telemetry, one thread per numeric library, no settings of this machine.
for _name in [name for name in os.environ if name.upper().startswith("ASSAY_")]:
    del os.environ[_name]
os.environ.update(
    HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1",
    DO_NOT_TRACK="1", ITERATIVE_DO_NOT_TRACK="1", TOKENIZERS_PARALLELISM="false",
    TORCHDYNAMO_DISABLE="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", POLARS_MAX_THREADS="2",
)  # fmt: skip

import gc  # noqa: E402

gc.disable()  # until every test is collected: a third of that time was spent looking for garbage among what stays

import shutil  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Generator, Iterator  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import pytest  # noqa: E402
from hypothesis import HealthCheck  # noqa: E402
from hypothesis import settings as hypothesis_settings  # noqa: E402

from core.clock import ManualClock  # noqa: E402
from core.db import Database  # noqa: E402
from tests import postgres, service  # noqa: E402
from tests.examples import examples  # noqa: E402
from tests.once import once  # noqa: E402

if TYPE_CHECKING:
    from monitor.site import Site

ROOT = Path(__file__).parents[1]
START = datetime(2026, 1, 5, tzinfo=UTC)
WHOLE = {"turn_s": 3600}  # an evaluation that a test asks for judges every window, however busy the machine is

UNDER_CI = os.environ.get("CI") == "true"
hypothesis_settings.register_profile(
    "same examples", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True,
    max_examples=examples(100),
)  # fmt: skip
# Outside CI every run tries examples of its own; a failure prints the line that repeats it.
hypothesis_settings.register_profile(
    "new examples", hypothesis_settings.get_profile("same examples"), derandomize=False
)
hypothesis_settings.load_profile("same examples" if UNDER_CI else "new examples")


def absent(what: str, package: str) -> None:
    """Skip for want of something outside the project; under CI, where it is promised, fail."""
    message = f"{what} is not on this machine; install {package}"
    if UNDER_CI:
        pytest.fail(message)
    pytest.skip(message)


# What takes many seconds in one piece comes first; xdist would leave some of it to the end, for one worker alone.
FIRST = (
    "tests/demo/", "tests/retrain/", "tests/api/test_readme.py", "tests/monitor/reference/test_engines.py",
    "tests/server/test_erasures.py", "tests/monitor/windows/", "tests/api/test_object_store.py",
    "tests/server/test_intake.py", "tests/browser/", "tests/server/test_notifications.py", "tests/api/processes/",
)  # fmt: skip


def dealt(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """An order of the items of which each worker's share, of equal length, begins with its parts of the long ones."""
    parts: list[list[pytest.Item]] = [[] for _ in FIRST]
    rest: list[pytest.Item] = []
    for item in items:
        found = next((part for part, name in zip(parts, FIRST, strict=True) if item.nodeid.startswith(name)), rest)
        found.append(item)
    order: list[pytest.Item] = []
    for worker in range(workers):
        head = [item for part in parts[worker::workers] for item in part]
        fill = max(0, (len(items) - len(order)) // (workers - worker) - len(head))
        order += head + rest[:fill]
        del rest[:fill]
    return order + rest


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, object, object]:
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and any(isinstance(v, str) and v == "postgresql" for v in call.params.values()):
            item.add_marker(pytest.mark.postgres)
    others = yield  # what is not asked for has left
    items[:] = dealt(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    return others


def pytest_collection_finish() -> None:
    """Every test process collects every test: what takes seconds to import is imported by the tests that use it."""
    if "torch" in sys.modules:
        raise pytest.UsageError("a test module imports torch when it is collected; import it inside its tests")
    # Thousands of tests and libraries stay to the end; looking for garbage among them took a tenth of the suite's time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public datasets (Banking77, COMPAS, elec2 ...), beside the checkout and never in it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        message = "no public datasets in ../shared/data, beside the checkout"
        if UNDER_CI and folder.parent.is_dir():
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that browser tests drive."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        absent("chromium", "chromium")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def pdftotext() -> str:
    """Path of poppler's text extractor; pdftoppm and pdfinfo lie beside it."""
    path = shutil.which("pdftotext")
    if path is None:
        absent("pdftotext", "poppler-utils")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A real PostgreSQL server, started once per test process."""
    found = postgres.binaries()
    if found is None:
        absent("a PostgreSQL server", "postgresql")
    assert found is not None
    with postgres.serve(found) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: postgres.Server) -> str:
    """Name of a PostgreSQL database with the newest schema, to be copied."""
    import migrations

    name = postgres_server.create("migrated")
    migrations.upgrade(postgres_server.url(name))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema, to be copied."""
    import migrations

    def make(folder: Path) -> None:
        migrations.upgrade(f"sqlite:///{folder / 'assay.db'}")

    return once(tmp_path_factory, "template", make) / "assay.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without a single table, on each kind of database in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh database with the newest schema, on each kind of database in turn.

    A test whose second database may wait for `make test-all` says `@SQLITE_FIRST`, from tests/databases.py.
    """
    if request.param == "sqlite":
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        shutil.copyfile(request.getfixturevalue("sqlite_template"), home / "assay.db")
        yield f"sqlite:///{home / 'assay.db'}"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    name = server.create(template=request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def clock() -> ManualClock:
    """Stands at Monday 5 January 2026, 00:00 UTC, until the test moves it."""
    return ManualClock(START)


@pytest.fixture
def site(tmp_path: Path, database_url: str, clock: ManualClock) -> Iterator["Site"]:
    """An open site on a fresh home folder and a fresh database; its clock is the fixture `clock`."""
    from core import settings
    from monitor.site import open_site

    loaded = settings.load(
        {}, home=tmp_path / "home", db=settings.DbSettings.model_validate({"url": database_url}), work=WHOLE
    )
    site = open_site(loaded, clock)
    yield site
    site.database.dispose()


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """A running service for every test that needs neither an empty one nor settings of its own."""
    running = service.Service(tmp_path_factory.mktemp("shared") / "home", environ={"ASSAY_SERVER__MAX_BODY_MB": "4"})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., service.Service]]:
    """Start `assay serve` in a real process: `start_server(home=..., database_url=..., environ=...)`."""
    running: list[service.Service] = []

    def start(
        home: Path | None = None, database_url: str | None = None, environ: dict[str, str] | None = None
    ) -> service.Service:
        started = service.Service(home or tmp_path / "served", database_url=database_url, environ=environ or {})
        running.append(started)
        started.start()
        return started

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def server(start_server: Callable[..., service.Service]) -> service.Service:
    """A running service on its embedded stores: `.url`, `.admin_key`, `.home`; `.kill()` and `.start()` restart it."""
    return start_server()
