"""The API in a process of its own, on SQLite and on PostgreSQL."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from core.clock import SystemClock
from core.db import Database
from governance.access.api_keys import first_admin
from tests import postgres
from tests.service import environment, servers

SPEC: dict[str, Any] = {
    "model": "support-intents", "task": "classification", "owner": "ml@example.com", "purpose": "route messages",
    "columns": {
        "text": {"role": "input", "type": "text"},
        "intent": {"role": "prediction", "type": "category"},
        "confidence": {"role": "score", "type": "number"},
        "urgent": {"role": "segment", "type": "boolean"},
        "customer": {"role": "subject", "type": "string"},
        "intent_true": {"role": "outcome", "type": "category"},
    },
    "baseline": {"rows": "first 1000"},
}  # fmt: skip


@dataclass
class Installation:
    home: Path
    database: Database
    environ: dict[str, str]

    @property
    def clock(self) -> SystemClock:
        return SystemClock()


@dataclass
class Api:
    """A running API: `get`, `post` ... answer httpx responses; the admin's key unless told otherwise."""

    installation: Installation
    key: str
    process: int | None = None
    url: str = ""
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=60))

    def start(self) -> None:
        home = self.installation.home
        printed = home / "port"
        printed.unlink(missing_ok=True)
        self.process = servers().start(
            "api", environ=environment(self.installation.environ), stdout=printed, stderr=home / "api.log"
        )
        for _ in range(36_000):
            if printed.exists() and (port := printed.read_text()).endswith("\n"):
                self.url = f"http://127.0.0.1:{port.strip()}"
                return
            assert not servers().ended(self.process), (home / "api.log").read_text()[-3000:]
            time.sleep(0.005)
        raise AssertionError("the API did not start")

    def kill(self) -> None:
        """A power cut, as far as the software can tell."""
        if self.process is not None:
            servers().kill(self.process)
            self.process = None

    def send(self, method: str, path: str, *, key: str | None = "", **options: Any) -> httpx2.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key or self.key}"}
        return self.http.request(method, self.url + path, headers={**headers, **options.pop("headers", {})}, **options)

    def rows(self, path: str, rows: list[dict[str, Any]], model: str = "support-intents") -> httpx2.Response:
        return self.send("POST", f"/api/v1/models/{model}/{path}", json=rows)


def event(event_id: str, **more: Any) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return {
        "event_id": event_id, "ts": at, "version": "v1", "text": "where is my card", "intent": "card_arrival",
        "confidence": 0.9, "urgent": False, "customer": "Ada Lovelace", **more,
    }  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("home")
    environ = {"ASSAY_HOME": str(home), "ASSAY_SERVER__MAX_BODY_MB": "2"}
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), home / "assay.db")
        url = f"sqlite:///{home / 'assay.db'}"
    else:
        server: postgres.Server = request.getfixturevalue("postgres_server")
        name = server.create(template=request.getfixturevalue("postgres_template"))
        url = server.url(name)
    database = Database(url)
    yield Installation(home, database, environ | {"ASSAY_DB__URL": url})
    database.dispose()
    if request.param == "postgresql":
        server.drop(name)


@pytest.fixture(scope="module")
def api(installation: Installation) -> Iterator[Api]:
    key = first_admin(installation)
    assert key is not None
    api = Api(installation, key)
    try:
        api.start()
        answer = api.send("PUT", "/api/v1/models/support-intents", json=SPEC)
        assert answer.status_code == 201, answer.text
        yield api
    finally:
        api.kill()
        api.http.close()
