"""Run every sender against a service, and compare what it stores with the table in docs/otlp.md: `make senders`.

`--write` records what was sent, for the tests that replay it.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.senders.recorder import save
from tests.senders.run import run, version
from tests.senders.senders import FOLDER, SENDERS
from tests.senders.stored import COLUMNS, ids_by_case, row, shown, spec
from tests.senders.table import documented
from tests.service import Service

JOINED_WITHIN_S = 20  # of log records whose span was stored at the same moment


def ask(service: Service, method: str, path: str, document: Any = None) -> Any:
    """Call the service; None where there is no such thing."""
    body = None if document is None else json.dumps(document).encode()
    headers = service.headers() | {"Content-Type": "application/json"}
    request = urllib.request.Request(service.url + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def stored_by(service: Service, name: str, ids: dict[str, list[str]]) -> tuple[str, ...]:
    """The row of the table, as the events of the service give it."""
    path = f"/api/v1/models/{name}/events"
    found = {case: [ask(service, "GET", f"{path}/{i}") for i in of_case] for case, of_case in ids.items()}
    return row({case: [shown(event) for event in events if event] for case, events in found.items()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SENDERS))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "home", environ={})
        service.start()
        try:
            for name in options.names:
                different += not _same(service, name, write=options.write)
        finally:
            service.stop()
    print(f"{len(options.names) - different} passed, {different} failed")
    return 1 if different else 0


def _same(service: Service, name: str, *, write: bool) -> bool:
    began = time.monotonic()
    ask(service, "PUT", f"/api/v1/models/{name}", spec(name))
    exports = run(SENDERS[name], name, (service.url, service.admin_key))
    if write:
        for old in (FOLDER / "recorded").glob(f"{name}__*.zip"):
            old.unlink()
        save(exports, FOLDER / "recorded" / f"{name}__{SENDERS[name].package}-{version(SENDERS[name])}.zip")
    wanted, ids = documented()[name].stored, ids_by_case(exports)
    limit = time.monotonic() + JOINED_WITHIN_S
    while (found := stored_by(service, name, ids)) != wanted and time.monotonic() < limit:
        time.sleep(0.5)
    print(f"{name}: {'as the table says' if found == wanted else 'NOT as the table says'}, "
          f"{sum(map(len, ids.values()))} spans, {time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    for column, told, is_so in zip(COLUMNS, wanted, found, strict=True):
        if told != is_so:
            print(f"  {column}: the table says {told!r}, stored is {is_so!r}", flush=True)
    return found == wanted


if __name__ == "__main__":
    sys.exit(main())
