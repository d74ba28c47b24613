"""`assay serve`, `assay api`, `assay worker`: the long-running processes."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core import logs
from core.errors import InvalidError
from core.process import PR_SET_PDEATHSIG, isolated
from core.settings import Settings, load

if TYPE_CHECKING:
    from core.db import Database
    from monitor.site import Site

SENDING_ENDS_S = 3.0  # that a message under way may take when the worker is to stop
# Commands import their modules when they run, so that `assay --help` answers at once.

Home = Annotated[Path | None, typer.Option(help="folder with all data of this installation (ASSAY_HOME)")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="port to listen on; 0 picks a free one (ASSAY_SERVER__PORT)")
]
JsonLine = Annotated[bool, typer.Option("--json", help="print one JSON line when ready")]


def configured(home: Path | None, port: int | None = None) -> Settings:
    """Load settings, with the command line's overrides."""
    settings = load() if home is None else load(home=home)
    if port is not None:
        settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})
    return settings


def prepare(settings: Settings, *, checked: bool = False) -> "Site":
    """Migrate the database, open the installation, and record rows that no entry of the ledger names yet.

    Args:
        checked: whether the parent of this process has checked the channels.

    Raises:
        InvalidError: the home folder, the database or the engine cannot be used.
    """
    from sqlalchemy.exc import SQLAlchemyError

    import migrations.tables  # and every table, of which stock is taken
    from core import engine
    from governance.binding.found import take_stock
    from monitor.notify import channels
    from monitor.site import open_site

    engine.check(settings.engine)
    if not checked:
        channels.check(settings)
    try:
        settings.home_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidError(
            f"home {settings.home_dir} cannot be created: {error.strerror}; choose another with --home", field="home",
            value=str(settings.home_dir),
        ) from error  # fmt: skip
    try:
        migrations.upgrade(settings.database_url)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise InvalidError(f"db.url: the database cannot be used: {reason}", field="db.url") from error
    site = open_site(settings)
    take_stock(site.database, site.clock, lambda said: typer.echo(said, err=True))
    return site


def end_cleanly() -> None:
    """Turn signals into SystemExit: uvicorn raises SIGTERM again after it stops, before the stores are closed."""

    def leave(*_: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def _listen(site: "Site", *, as_json: bool, bound: Callable[[str], None] = lambda _: None) -> None:
    from api.server import listen

    try:
        listen(site, as_json=as_json, bound=bound)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        server = site.settings.server
        raise InvalidError(
            f"cannot listen on {server.host} port {server.port}: {error.strerror}; choose another with --port or "
            "ASSAY_SERVER__HOST, or stop the process that listens there",
            field="server.port", value=server.port,
        ) from error  # fmt: skip


def serve(home: Home = None, port: Port = None, as_json: JsonLine = False) -> None:
    """Run API, worker and scheduler as one command on the embedded stores."""
    settings = configured(home, port)
    logs.configure(settings.log.level)
    end_cleanly()
    site = prepare(settings)
    stop = threading.Event()
    keepers: list[threading.Thread] = []

    def keep_worker(url: str) -> None:
        keepers.append(
            threading.Thread(target=_keep_worker, args=(settings, url, stop), name="worker-keeper", daemon=True)
        )
        keepers[0].start()

    try:
        _listen(site, as_json=as_json, bound=keep_worker)
    finally:
        stop.set()
        for keeper in keepers:
            keeper.join(timeout=15)
        site.close()


def api(home: Home = None, port: Port = None, as_json: JsonLine = False) -> None:
    """Run the API alone; several may run on one PostgreSQL."""
    settings = configured(home, port)
    logs.configure(settings.log.level)
    end_cleanly()
    site = prepare(settings)
    try:
        _listen(site, as_json=as_json)
    finally:
        site.close()


def worker(home: Home = None, parent: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """Run a worker with its scheduler; several may run on one PostgreSQL."""
    from api.processes import deliveries, lanes, scheduler
    from api.processes.worker import stop_on_signal

    if parent is not None:
        _die_with(parent)
    settings = configured(home)
    logs.configure(settings.log.level)
    site = prepare(settings, checked=parent is not None)
    stop = stop_on_signal()
    ticking, sending = scheduler.start(site), deliveries.start(site)
    try:
        lanes.run_forever(site, stop)
    finally:
        ticking.shutdown(wait=False)
        deliveries.stop(sending, limit_s=SENDING_ENDS_S)
        site.close()


def worker_environment(settings: Settings, url: str) -> dict[str, str]:
    """The environment of the worker of `assay serve`, which listens at a URL: links in messages lead there."""
    environment = isolated(os.environ) | {"ASSAY_HOME": str(settings.home_dir)}
    if (address := settings.served_at(url).notify.base_url) is not None:
        environment["ASSAY_NOTIFY__BASE_URL"] = address
    return environment


def _keep_worker(settings: Settings, url: str, stop: threading.Event) -> None:
    """Run the worker as a child process, and restart it when it dies, because the loop must survive a crash."""
    environment = worker_environment(settings, url)
    command = [sys.executable, "-P", "-m", "api.cli", "worker", "--parent", str(os.getpid())]
    while not stop.is_set():
        child = subprocess.Popen(command, env=environment)  # noqa: S603 - our own interpreter and module, no shell
        while child.poll() is None and not stop.wait(0.5):
            pass
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
        stop.wait(1.0)


def _die_with(parent: int) -> None:
    """End this worker with its parent `assay serve` (Linux only); otherwise it would go on claiming jobs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before the call
            sys.exit(1)


def existing_database(settings: Settings) -> "Database":
    """The database of an installation that exists; another path must not make a new one."""
    from core.db import Database  # SQLAlchemy takes long to import

    if settings.db.url is None and not (settings.home_dir / "assay.db").is_file():
        raise InvalidError(
            f"home: no installation at {settings.home_dir}; give its folder with --home or ASSAY_HOME", field="home",
            value=str(settings.home_dir),
        )  # fmt: skip
    return Database(settings.database_url)
