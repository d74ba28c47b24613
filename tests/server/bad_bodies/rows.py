"""Good rows, bodies of rows in every form, and what a refusal of them must look like."""

import datetime as dt
import gzip
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.monitor.ingest.otlp.requests import as_json, span
from tests.monitor.ingest.otlp.requests import request as request_of
from tests.server.bad_bodies.target import FORMS, ROUTES, Target, problem_of
from tests.server.conftest import event

AT: Final = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
CODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "identity": lambda body: body, "gzip": gzip.compress, "zstd": lambda body: pa.compress(body, "zstd", asbytes=True),
}  # fmt: skip
# Identity coding for every case; behind gzip and zstd, test_codings.py has two cases a reader.
EVERY_CODING = pytest.mark.parametrize(
    "coding", [coding if coding == "identity" else pytest.param(coding, marks=pytest.mark.slow) for coding in CODINGS]
)


@dataclass
class Rows:
    """Good rows of a route, each with an id that no other has."""

    route: str
    target: Target
    made: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.route.partition("-")[0]

    def good(self, **more: Any) -> dict[str, Any]:
        self.made.append(self.target.next_id("o" if self.kind == "outcomes" else "e", self.route))
        if self.kind == "outcomes":
            return {"event_id": self.made[-1], "intent_true": "top_up", "stars": 4, "helpful": True, **more}
        return event(self.made[-1], meaning=[0.25, 0.5, 1], **more)


@dataclass(frozen=True)
class Bad:
    """What a body is refused with: as a whole where `status` is not 200, else the second of its three rows."""

    body: bytes
    status: int
    code: str = ""
    field: str | None = None
    word: str = ""


def check(target: Target, kind: str, form: str, make: Callable[[Rows], Bad], coding: str) -> None:
    route = f"{kind}-{form}"
    rows = Rows(route, target)
    bad = make(rows)
    answer = target.send(ROUTES[route][0], CODINGS[coding](bad.body), FORMS[form], coding)
    assert answer.status_code == bad.status, answer.text[:500]
    if bad.status == 200:
        _check_receipt(answer, bad, accepted=len(rows.made))
        target.accept(route, set(rows.made))
    else:
        _check_refusal(answer, bad)


def _check_receipt(answer: httpx2.Response, bad: Bad, *, accepted: int) -> None:
    receipt = answer.json()
    assert (receipt["accepted"], receipt["duplicates"]) == (accepted, 0), answer.text[:500]
    assert receipt["rejected_total"] == len(receipt["rejected"]) == (1 if bad.word else 0)
    for rejected in receipt["rejected"]:
        assert (rejected["line"], rejected["field"]) == (2, bad.field)
        assert bad.word in rejected["reason"]
        assert len(rejected["reason"]) < 1000


def _check_refusal(answer: httpx2.Response, bad: Bad) -> None:
    problem = problem_of(answer)
    assert (problem["code"], problem["status"]) == (bad.code, bad.status)
    assert bad.word in problem["detail"]
    assert len(answer.content) < 4000
    if bad.field is not None:
        assert problem["field"] == bad.field
        assert bad.field in problem["detail"]


def written(form: str, rows: list[dict[str, Any]]) -> bytes:
    match form:
        case "ndjson":
            return "\n".join(map(json.dumps, rows)).encode()
        case "json":
            return json.dumps(rows).encode()
    return as_columns(form, table(rows))


def body_of(form: str, rows: Rows, count: int = 3) -> bytes:
    return written(form, [rows.good() for _ in range(count)])


def table(rows: list[dict[str, Any]], **columns: Any) -> pa.Table:
    """The rows as other programs would write them; `columns` replaces some, None leaves one out."""
    found = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    if "ts" in found:
        times = [dt.datetime.fromisoformat(row["ts"]) for row in rows]
        found["ts"] = pa.array(times, pa.timestamp("us", "UTC"))
    found |= columns
    return pa.table({name: values for name, values in found.items() if values is not None})


def as_columns(form: str, content: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    if form == "arrow":
        with pa.ipc.new_stream(out, content.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
            writer.write_table(content)
    else:
        pq.write_table(content, out, **options)
    return out.getvalue()


def three(value: Any, **more: Any) -> Any:
    """A column of three equal values."""
    return pa.array([value] * 3, **more)


def spans(target: Target, count: int = 3) -> list[dict[str, Any]]:
    at = int(AT.timestamp()) * 10**9
    made = [span(next(target.numbers["traces"]) + 1, start=at, end=at + 10**9) for _ in range(count)]
    for one in made:
        target.note_sender(id_of(one))
    return made


def id_of(one: dict[str, Any]) -> str:
    """The id of the event that a span becomes."""
    return f"{one['trace']}-{one['id']}"


def encoded(form: str, made: list[dict[str, Any]]) -> bytes:
    request = request_of(*made)
    return request.SerializeToString() if form == "protobuf" else as_json(request)


def good_body(target: Target, route: str) -> tuple[bytes, set[str]]:
    """A good body for a route, and the ids of its rows."""
    kind, _, form = route.partition("-")
    if kind == "traces":
        made = spans(target)
        return encoded(form, made), {id_of(one) for one in made}
    rows = Rows(route, target)
    return body_of(form, rows), set(rows.made)
