"""A PostgreSQL server of the tests' own: a temporary folder, a unix socket, no fsync, gone at the end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg


def binaries() -> Path | None:
    """Folder of the newest server installed on this machine; None when there is none."""
    found = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if (p / "initdb").exists()]
    if found:
        return max(found, key=lambda p: int(p.parent.name) if p.parent.name.isdigit() else 0)
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


class Server:
    """A running server; databases are made by copying a template, which takes tens of milliseconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://assay@/{name}?host={self.folder}"

    def _execute(self, statement: str) -> None:
        with psycopg.connect(host=str(self.folder), user="assay", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, name: str | None = None, *, template: str = "template1") -> str:
        """Make a database; returns its name."""
        name = name or f"t{uuid4().hex}"
        self._execute(f"create database {name} template {template}")
        return name

    def drop(self, name: str) -> None:
        self._execute(f"drop database if exists {name} with (force)")


def _account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; as root, the account it runs under instead."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("running as root, and neither account postgres nor nobody exists to run the server under")


@contextmanager
def serve(bin_dir: Path, *, durable: bool = False) -> Iterator[Server]:
    """Start a server and stop it at the end, whatever happened in between.

    durable: whether what is committed is on disk, which no test needs and every measurement of speed does.
    """
    # Not under pytest's own folder: that one is closed to other accounts, and a socket path has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="assay-pg-"))
    account = _account()
    user = group = None
    if account is not None:
        user, group = account.pw_uid, account.pw_gid
        os.chown(folder, user, group)
    data, log = folder / "data", folder / "server.log"
    environ = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    options = {
        **dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "on" if durable else "off"),
        "max_connections": "60",
        "shared_buffers": "32MB",
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
    }
    try:
        subprocess.run(
            [str(bin_dir / "initdb"), "-D", str(data), "-U", "assay", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True, capture_output=True, cwd=folder, env=environ, user=user, group=group,
        )  # fmt: skip
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(bin_dir / "postgres"), "-D", str(data), *arguments],
                stdout=output, stderr=output, cwd=folder, env=environ, user=user, group=group,
            )  # fmt: skip
        try:
            server = Server(folder)
            _wait(server, process, log)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # cuts clients off; SIGTERM would wait for them
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with psycopg.connect(host=str(server.folder), user="assay", dbname="postgres"):
                return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)
