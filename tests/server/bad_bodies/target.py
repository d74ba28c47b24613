"""The service that every bad body is sent to, and the rows that it accepted."""

import io
import itertools
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import pyarrow as pa

from monitor.ingest.media import ARROW, JSON, NDJSON, PARQUET, PROTOBUF
from monitor.ingest.otlp.wire import message_class
from tests.server.conftest import SPEC, event
from tests.server.test_otlp import SPEC as SHOP
from tests.service import Service

LIMIT_MB: Final = 2
FORMS: Final = {"ndjson": NDJSON, "json": JSON, "arrow": ARROW, "parquet": PARQUET}
ROUTES: Final[Mapping[str, tuple[str, str]]] = {
    **{f"{kind}-{form}": (f"/api/v1/models/{kind}-{form}/{kind}", media) for kind in ("events", "outcomes")
       for form, media in FORMS.items()},
    "traces-protobuf": ("/v1/traces", PROTOBUF),
    "traces-json": ("/v1/traces", JSON),
}  # fmt: skip
_COLUMNS: Final = SPEC["columns"] | {
    "meaning": {"role": "input", "type": "vector", "dimensions": 3},
    "stars": {"role": "outcome", "type": "number"}, "helpful": {"role": "outcome", "type": "boolean"},
}  # fmt: skip
_SEEDS: Final = 1500  # events of each model whose outcomes are sent
TIMEOUT_S: Final = 60  # a request that takes longer hangs
_Status = message_class("StatusOfBadBody", code="int32", message="string")
Table = tuple[str, str]  # a model and a kind of rows


def table_of(route: str) -> Table:
    """The table behind a route."""
    kind = route.partition("-")[0]
    return ("shop", "events") if kind == "traces" else (route, kind)


@dataclass
class Target:
    """A running service, the ids it accepted into each table, and the test that sent each id."""

    service: Service
    http: httpx2.Client
    accepted: dict[Table, set[str]] = field(default_factory=lambda: defaultdict(set))
    senders: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(itertools.count))

    def prepare(self) -> None:
        """Declare a model for each route, and send the events whose outcomes come later."""
        names = [route for route in ROUTES if not route.startswith("traces")]
        for document in [SPEC | {"model": name, "columns": _COLUMNS} for name in names] + [SHOP]:
            answer = self.http.put(f"/api/v1/models/{document['model']}", json=document)
            assert answer.status_code == 201, answer.text
        seeds = "\n".join(json.dumps(event(f"o{i}")) for i in range(_SEEDS)).encode()
        for form in FORMS:
            answer = self.send(f"/api/v1/models/outcomes-{form}/events", seeds, NDJSON)
            assert answer.json()["accepted"] == _SEEDS, answer.text

    def send(self, path: str, body: bytes, form: str, coding: str = "identity") -> httpx2.Response:
        headers = {"Content-Type": form, "Content-Encoding": coding}
        return self.http.post(path, content=body, headers=headers)

    def next_id(self, prefix: str, route: str) -> str:
        """An id that no other row of the route has."""
        made = f"{prefix}{next(self.numbers[route])}"
        self.note_sender(made)
        return made

    def note_sender(self, row_id: str) -> None:
        self.senders[row_id] = os.environ["PYTEST_CURRENT_TEST"]

    def accept(self, route: str, ids: set[str]) -> None:
        self.accepted[table_of(route)] |= ids

    def counts(self) -> dict[Table, int]:
        """Rows of each table, as the service's metrics count them."""
        metrics = self.http.get("/metrics").text
        found = re.findall(r'^assay_(events|outcomes){model="([^"]+)"} ([\d.]+)$', metrics, re.M)
        return {(model, kind): int(float(count)) for kind, model, count in found}

    def check_tables(self) -> None:
        """Each table holds the rows that were accepted and no other."""
        for route in ROUTES:
            model, kind = table_of(route)
            answer = self.http.get(f"/api/v1/models/{model}/events", params={"kind": kind, "format": "arrow"})
            assert answer.status_code == 200, answer.text
            rows = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
            found = [str(value) for value in rows["event_id"].to_pylist()] if rows.num_rows else []
            assert len(set(found)) == len(found), f"{route}: a row is there twice"
            accepted = self.accepted[model, kind]
            wrong = {row_id: self.senders.get(row_id, "no test") for row_id in accepted ^ set(found)}
            assert not wrong, f"{route}: lost, or stored though refused: {list(wrong.items())[:5]}"

    def check_log(self) -> None:
        log = self.service.log.read_text()
        assert "Traceback" not in log
        assert "unhandled" not in log


def problem_of(answer: httpx2.Response) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert isinstance(problem, dict)
    assert problem["code"]
    return problem


def reason(answer: httpx2.Response, route: str) -> str:
    """The sentence of a refusal, in the form that the route has for it."""
    if route == "traces-protobuf" or answer.headers["content-type"] == PROTOBUF:
        assert answer.headers["content-type"] == PROTOBUF
        return str(_Status.FromString(answer.content).message)
    return str(answer.json()["message"] if route == "traces-json" else problem_of(answer)["detail"])
