"""Are alerts delivered, whatever happens to the service and to the receiver?

    make bench-alerts               1,000 alerts in 50 incidents
    make bench-alerts ARGS="--alerts 60 --incidents 6 --kills 2"

A process opens alerts as an evaluation does, one transaction each. `assay serve` delivers them to a webhook whose
receiver fails half of the time: it answers 500, breaks the connection off, redirects or hangs. Both processes are
killed (SIGKILL) again and again and started anew. An alert counts as delivered if a request that was answered 200 and
whose signature is right names it. At the end

  lost                   alerts in the database that no such request named
  messages_per_incident  messages (ids), the greatest number of one incident; the promise is one, and one more for each
                         cool-down that its alerts lasted into
  repeated               messages that arrived more than once, under the same id
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from bench.load.results import machine
from core.canonical import timestamp

ROOT: Final = Path(__file__).resolve().parents[1]
SECRET: Final = base64.b64encode(b"bench bench bench bench!").decode()
GATHER_S: Final = 1.0
COOLDOWN_S: Final = 20.0
TIMEOUT_S: Final = 2.0
SPEC: Final[dict[str, Any]] = {
    "task": "classification", "owner": "bench@example.com", "purpose": "raise alerts",
    "columns": {"amount": {"role": "input", "type": "number"}, "answer": {"role": "prediction", "type": "category"}},
    "baseline": {"rows": "first 1000"}, "monitors": {"windows": ["1d"], "false_alarms": "1 per 30d"},
}  # fmt: skip


@dataclass
class Inbox:
    """What arrived: by alert, and by message."""

    random: random.Random
    failing: float = 0.5
    guard: threading.Lock = field(default_factory=threading.Lock)
    alerts: set[str] = field(default_factory=set)
    taken: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # times that a message was answered 200
    threads: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # messages of each incident
    failed: int = 0

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        signed = f"{handler.headers['webhook-id']}.{handler.headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()).decode()
        assert handler.headers["webhook-signature"] == f"v1,{expected}"
        with self.guard:
            fails = self.random.random() < self.failing
            how = self.random.choice(("500", "broken", "redirect", "hang")) if fails else "200"
            self.failed += fails
            if not fails:
                event = json.loads(body)
                self.taken[event["id"]] += 1
                self.threads[event["data"]["thread"]].add(event["id"])
                self.alerts.update(alert["alert_id"] for alert in event["data"]["alerts"] if alert["alert_id"])
        self._answer(handler, how)

    def _answer(self, handler: BaseHTTPRequestHandler, how: str) -> None:
        if how == "broken":
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif how == "hang":
            time.sleep(2 * TIMEOUT_S)
        else:
            handler.send_response({"200": 200, "500": 500, "redirect": 302}[how])
            if how == "redirect":
                handler.send_header("Location", "/elsewhere")
            handler.send_header("Content-Length", "0")
            handler.end_headers()


def receive(inbox: Inbox) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            inbox.take(self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def open_alerts(home: Path, count: int, incidents: int) -> None:
    """The process that is killed: opens alerts until there are enough, each in a transaction of its own."""
    from sqlalchemy import func, select

    import migrations
    from core.settings import load
    from monitor import service, store
    from monitor.alerts import by_clock
    from monitor.alerts.headlines import Alarm
    from monitor.site import open_site
    from monitor.spec.parse import parse_spec
    from monitor.tables import Alert

    settings = load(home=home)
    migrations.upgrade(settings.database_url)
    site = open_site(settings)
    for number in range(incidents):
        with site.database.write() as db:
            service.apply_spec(site, db, parse_spec(SPEC | {"model": f"bench-{number}"}), "bench")
    while True:
        with site.database.write() as db:
            made = db.scalar(select(func.count()).select_from(Alert).where(Alert.monitor == "quality")) or 0
            if made == count:
                return
            model = store.model(db, f"bench-{made % incidents}")
            alarm = Alarm("quality", f"alarm_{made // incidents}", "amount", 0.2, 0.1, f"Alert {made}.", "warning")
            by_clock.open_alert(site, db, model.id, alarm, site.clock.now(), {})
        time.sleep(0.01)


@dataclass
class Killed:
    """A command that is killed and started again."""

    arguments: list[str]
    environ: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *self.arguments], cwd=ROOT, env=os.environ | self.environ, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None


def run(alerts: int, incidents: int, kills: int, seed: int) -> dict[str, tuple[float, str]]:
    inbox = Inbox(random.Random(seed))
    chance = random.Random(seed + 1)
    with tempfile.TemporaryDirectory(prefix="assay-alerts-") as folder:
        home = Path(folder) / "home"
        server = receive(inbox)
        environ = {
            "ASSAY_HOME": str(home), "ASSAY_SERVER__PORT": "0", "ASSAY_NOTIFY__ATTEMPTS": "60",
            "ASSAY_NOTIFY__GATHER_S": str(GATHER_S), "ASSAY_NOTIFY__COOLDOWN_S": str(COOLDOWN_S),
            "ASSAY_NOTIFY__TIMEOUT_S": str(TIMEOUT_S), "ASSAY_NOTIFY__BACKOFF_S": "0.2",
            "ASSAY_CHANNELS__BENCH": f"webhook+http://127.0.0.1:{server.server_address[1]}/hook?secret=whsec_{SECRET}",
        }  # fmt: skip
        opening = ["-m", "bench.alerts", "--open", str(home), "--alerts", str(alerts), "--incidents", str(incidents)]
        opener = Killed(opening, environ)
        service = Killed(["-c", "from api.cli import main; main()", "serve", "--json"], environ)
        try:
            for _ in range(kills):
                for one in (opener, service):
                    if one.process is None or one.process.poll() is not None:
                        one.kill()
                        one.start()
                time.sleep(chance.uniform(2.0, 8.0))
                chance.choice((opener, service)).kill()
                if chance.random() < 0.5:
                    service.kill()
            finish(home, opener, service)
            return figures(home, inbox, alerts)
        finally:
            opener.kill()
            service.kill()
            server.shutdown()
            server.server_close()


def finish(home: Path, opener: Killed, service: Killed, limit_s: float = 900) -> None:
    """Let everything be opened and delivered, without further kills."""
    for one in (opener, service):
        if one.process is None or one.process.poll() is not None:
            one.kill()
            one.start()
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        assert opener.process is not None
        if opener.process.poll() is not None:
            if opener.process.returncode != 0:
                opener.start()
            elif not unsent(home):
                return
        time.sleep(0.5)
    raise TimeoutError(f"not everything was delivered within {limit_s:g} s")


def query(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """Through another reader than the service."""
    import sqlite3

    with closing(sqlite3.connect(home / "assay.db", timeout=30)) as db:
        return db.execute(sql).fetchall()


def unsent(home: Path) -> int:
    return int(query(home, "select count(*) from outbox where state in ('waiting', 'sending', 'retrying')")[0][0])


def figures(home: Path, inbox: Inbox, wanted: int) -> dict[str, tuple[float, str]]:
    opened: dict[str, list[str]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    for alert, incident, at in query(home, "select id, incident_id, opened_at from alert where monitor = 'quality'"):
        name = f"incident:{_dashed(incident)}"
        opened[name].append(_dashed(alert))
        times[name].append(datetime.fromisoformat(at).timestamp())
    made = [alert for alerts in opened.values() for alert in alerts]
    assert len(made) == wanted
    with inbox.guard:
        lost = set(made) - inbox.alerts
        promised = {name: 1 + (max(t) - min(t)) // COOLDOWN_S + 1 for name, t in times.items()}
        broken = [name for name in opened if len(inbox.threads[name]) > promised[name]]
        most = max(len(inbox.threads[name]) for name in opened)
        print(
            f"{len(made)} alerts in {len(opened)} incidents, {len(inbox.taken)} messages, {inbox.failed} tries failed; "
            f"lost {len(lost)}, incidents with more messages than promised {len(broken)}"
        )
        return {
            "lost": (len(lost), "alerts"), "messages_per_incident": (most, "messages"),
            "mean_messages_per_incident": (len(inbox.taken) / len(opened), "messages"),
            "broken_promises": (len(broken), "incidents"),
            "repeated": (sum(1 for n in inbox.taken.values() if n > 1), "messages"),
        }  # fmt: skip


def _dashed(hexadecimal: str) -> str:
    h = hexadecimal.replace("-", "")
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=1000)
    parser.add_argument("--incidents", type=int, default=50)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "alerts.jsonl")
    options = parser.parse_args()
    if options.open is not None:
        open_alerts(options.open, options.alerts, options.incidents)
        return
    found = run(options.alerts, options.incidents, options.kills, options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a") as file:
        for metric, (value, unit) in found.items():
            line = {
                "bench": "alerts", "case": "flaky_receiver", "metric": metric, "value": round(value, 3), "unit": unit,
                "peer": None, "peer_value": None, "ratio": None, "at": timestamp(datetime.now(UTC)),
                "machine": machine(), "alerts": options.alerts, "incidents": options.incidents, "kills": options.kills,
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    if found["lost"][0] or found["broken_promises"][0]:
        sys.exit(1)


if __name__ == "__main__":
    main()
