"""Send what schemathesis makes of the OpenAPI document to every route, with every role, on both databases.

Each answer must be one that the document lists, in the form it lists, come within MAX_ANSWER_S and be no 5xx. The log
of the service must tell of no unexpected error. Exits with 1 otherwise, after all roles had their turn.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2

from governance.access.roles import Role
from tests import postgres
from tests.server.conftest import SPEC, event
from tests.service import Service

MAX_ANSWER_S: Final = 20.0
CHECKS: Final = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
# What must never be in the log: an error of ours that nobody foresaw.
UNEXPECTED: Final = ("unhandled error", "job raised", "not stored", "background step failed", "worker loop")


@contextlib.contextmanager
def services() -> Iterator[dict[str, Service]]:
    """A service on each database, with a model and a few rows."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-fuzz-")))
        urls: dict[str, str | None] = {"sqlite": None}
        if (found := postgres.binaries()) is not None:
            server = stack.enter_context(postgres.serve(found))
            urls["postgresql"] = server.url(server.create())
        else:
            print("no PostgreSQL on this machine: SQLite alone", flush=True)
        running = {}
        for name, url in urls.items():
            running[name] = service = Service(folder / name, database_url=url, environ={})
            stack.callback(service.stop)
            service.start()
            with httpx2.Client(base_url=service.url, headers=service.headers(), timeout=60) as client:
                client.put("/api/v1/models/support-intents", json=SPEC).raise_for_status()
                rows = [event(f"e{i}") for i in range(50)]
                client.post("/api/v1/models/support-intents/events", json=rows).raise_for_status()
        yield running


def keys(service: Service) -> dict[str, str]:
    """A key for each role, and none. The admin's key that schemathesis gets may be revoked by it; another one stays."""
    with httpx2.Client(base_url=service.url, headers=service.headers(), timeout=60) as client:
        made = {
            role.value: client.post("/api/v1/keys", json={"name": f"fuzz-{role.value}", "role": role.value}).json()
            for role in Role
        }
    return {name: document["key"] for name, document in made.items()} | {"nobody": ""}


def described(service: Service) -> bytes:
    answer = httpx2.get(f"{service.url}/api/v1/openapi.json", headers=service.headers(), timeout=60)
    return answer.raise_for_status().content


def fuzz(program: Path, document: bytes, url: str, key: str, seconds: float) -> bool:
    """Whether every answer was as the document says."""
    with tempfile.NamedTemporaryFile("wb", suffix=".json") as file:
        file.write(document)
        file.flush()
        done = subprocess.run(
            [program, "run", file.name, "--url", url, "--max-time", str(int(seconds)), "--checks", CHECKS,
             "--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure", "--no-color", "--no-shrink",
             "--request-timeout", str(MAX_ANSWER_S), "--max-response-time", str(MAX_ANSWER_S), "--max-redirects", "0",
             "--suppress-health-check", "all", "--warnings", "off", "--generation-unique-inputs",
             *(["--header", f"Authorization: Bearer {key}"] if key else [])],
            env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(Path(__file__).parents[2])},
            check=False, cwd=tempfile.gettempdir(),  # it leaves files of its own where it runs
        )  # fmt: skip
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--schemathesis", type=Path, required=True, help="the program, in an environment of its own")
    given = parser.parse_args()
    failed = []
    with services() as running:
        each_s = given.minutes * 60 / len(running) / (len(Role) + 1)
        for database, service in running.items():
            document = described(service)  # before a run with the right to do so has revoked the key
            for role, key in keys(service).items():
                print(f"== {database}, {role}, {each_s:.0f} s", flush=True)
                if not fuzz(given.schemathesis, document, service.url, key, each_s):
                    failed.append(f"{database}, {role}")
            lines = [line for line in service.log.read_text().splitlines() if any(word in line for word in UNEXPECTED)]
            if lines:
                failed.append(f"{database}: {len(lines)} unexpected errors in the log, such as {lines[0][:6000]}")
    print("\n".join(["failed:", *failed]) if failed else "every answer was as the document says")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
