"""`assay serve`, `assay api`, `assay worker`: the long-running processes."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

import migrations
from api.app import create_app
from core import logs
from core.settings import Settings, load
from governance.access import first_admin
from monitor.site import Site, open_site

Home = Annotated[Path | None, typer.Option(help="folder that holds everything this installation keeps (ASSAY_HOME)")]
Port = Annotated[int | None, typer.Option(help="port to listen on; 0 picks a free one (ASSAY_SERVER__PORT)")]
JsonLine = Annotated[bool, typer.Option("--json", help="print one JSON line when ready")]


def configured(home: Path | None, port: int | None = None) -> Settings:
    """Settings with what the command line overrides."""
    settings = load() if home is None else load(home=home)
    if port is not None:
        settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": port})})
    return settings


def prepare(settings: Settings) -> Site:
    """Migrate the database and open the installation."""
    settings.home_dir.mkdir(parents=True, exist_ok=True)
    migrations.upgrade(settings.database_url)
    return open_site(settings)


def serve(home: Home = None, port: Port = None, as_json: JsonLine = False) -> None:
    """Run API, worker and scheduler as one command on the embedded stores."""
    settings = configured(home, port)
    logs.configure(settings.log.level)
    site = prepare(settings)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep_worker, args=(settings, stop), name="worker-keeper", daemon=True)
    keeper.start()
    try:
        _listen(site, as_json=as_json)
    finally:
        stop.set()
        keeper.join(timeout=15)
        site.close()


def api(home: Home = None, port: Port = None, as_json: JsonLine = False) -> None:
    """Run the API alone; several may run on one PostgreSQL."""
    settings = configured(home, port)
    logs.configure(settings.log.level)
    site = prepare(settings)
    try:
        _listen(site, as_json=as_json)
    finally:
        site.close()


def worker(home: Home = None, with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False) -> None:
    """Run a worker with its scheduler; several may run on one PostgreSQL."""
    from api import scheduler
    from api import worker as loop

    if with_parent:
        _die_with_parent()
    settings = configured(home)
    logs.configure(settings.log.level)
    site = prepare(settings)
    stop = loop.stop_on_signal()
    ticking = scheduler.start(site)
    try:
        loop.run_forever(site, stop)
    finally:
        ticking.shutdown(wait=False)
        site.close()


class _Server(uvicorn.Server):
    """uvicorn that says where it listens once it really does."""

    def __init__(self, config: uvicorn.Config, announce: dict[str, Any], as_json: bool) -> None:
        super().__init__(config)
        self._announce, self._as_json = announce, as_json

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        if self._as_json:
            typer.echo(json.dumps(self._announce))
        else:
            typer.echo(f"Assay listens on {self._announce['url']}; its home is {self._announce['home']}")
            if key := self._announce.get("admin_key"):
                typer.echo(f"Admin key, shown this once: {key}")
        sys.stdout.flush()


def _listen(site: Site, *, as_json: bool) -> None:
    server = site.settings.server
    listener = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((server.host, server.port))
    host = f"[{server.host}]" if ":" in server.host else server.host
    announce: dict[str, Any] = {"url": f"http://{host}:{listener.getsockname()[1]}"}
    if (key := first_admin(site)) is not None:
        announce["admin_key"] = key
    announce["home"] = str(site.settings.home_dir)
    config = uvicorn.Config(
        create_app(site), log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=10
    )
    _Server(config, announce, as_json).run(sockets=[listener])


def _keep_worker(settings: Settings, stop: threading.Event) -> None:
    """Run the worker as a child process and start it again when it dies: the loop must outlive a crash."""
    environment = os.environ | {"ASSAY_HOME": str(settings.home_dir)}
    while not stop.is_set():
        child = subprocess.Popen([sys.executable, "-m", "api.cli", "worker", "--with-parent"], env=environment)
        while child.poll() is None and not stop.wait(0.5):
            pass
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
        stop.wait(1.0)


def _die_with_parent() -> None:
    """A worker that outlives its `assay serve` would go on claiming jobs: on Linux the kernel ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
