"""Values of protected columns: left out everywhere without the permission, and every read of them is recorded."""

import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import polars as pl
import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from api.app import create_app
from api.http.protected import refuse_confirmed_protected
from core.errors import ForbiddenError
from governance.access.api_keys import first_admin
from governance.access.roles import Caller, Role
from monitor.site import Site
from tests.api.http.test_governance import SPEC, key
from tests.databases import SQLITE_FIRST

pytestmark = SQLITE_FIRST
SECRET = "zz-secret-band"
MODEL = "/api/v1/models/router"
EVENT = {"event_id": "e1", "ts": "2026-01-04T12:00:00Z", "version": "v1", "amount": 7.5, "intent": "card"}


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    headers = {"Authorization": f"Bearer {first_admin(site)}"}
    with TestClient(create_app(site), headers=headers, follow_redirects=False) as made:
        made.put(MODEL, json=SPEC).raise_for_status()
        rows = [
            EVENT | {"age_band": SECRET},
            EVENT | {"event_id": "e2", "age_band": SECRET, "amount": "much"},
            EVENT | {"event_id": "e3", "age_band": [SECRET]},
            EVENT | {"event_id": "e4", "Age_Band": SECRET},
        ]
        sent = made.post(f"{MODEL}/events", json=rows)
        assert (sent.json()["accepted"], len(sent.json()["rejected"])) == (1, 3)
        raw = made.post(f"{MODEL}/events", content=f'{{"age_band": "{SECRET}", "amount": ', headers={
            "content-type": "application/x-ndjson"})  # fmt: skip
        assert len(raw.json()["rejected"]) == 1
        yield made


def reads(client: TestClient) -> list[dict[str, Any]]:
    found = client.get("/api/v1/ledger/entries", params={"kind": "protected.read", "limit": 100})
    assert found.status_code == 200
    return [json.loads(line) if isinstance(line, str) else line for line in found.json()["items"]]


def told(content: bytes) -> str:
    """All that an answer says, whatever its format."""
    if content[:4] == b"PAR1":
        return str(pl.read_parquet(io.BytesIO(content)).to_dicts())
    return content.decode(errors="replace")


@pytest.mark.parametrize(
    "role",
    ["operator", "viewer", *(pytest.param(r, marks=pytest.mark.slow) for r in ("validator", "approver", "producer"))],
)
def test_no_get_route_tells_a_protected_value_without_the_permission(client: TestClient, role: str) -> None:
    headers = key(client, "eve", role)
    fillings = {"model": "router", "name": "router", "event_id": "e1", "version": "v1", "index": "0"}
    asked = set()
    for route in iter_route_contexts(client.app.routes):  # type: ignore[attr-defined]  # the application
        if route.path is None or "GET" not in (getattr(route, "methods", None) or ()):
            continue
        path = route.path
        while "{" in path:
            start, end = path.index("{"), path.index("}")
            name = path[start + 1 : end].partition(":")[0]
            path = path[:start] + quote(fillings.get(name, str(uuid4()))) + path[end + 1 :]
        for query in ({}, {"format": "arrow"}, {"format": "parquet"}, {"event_id": "e1"}, {"limit": "50"}):
            answer = client.get(path, params=query, headers=headers)
            assert SECRET not in told(answer.content), (path, query)
            assert SECRET not in str(answer.headers)
        asked.add(route.path)
    assert {"/api/v1/models/{model}/events", "/api/v1/models/{model}/quarantine"} <= asked
    assert reads(client) == []


def test_what_is_left_out_is_named(client: TestClient) -> None:
    eve = key(client, "eve", "operator")
    event = client.get(f"{MODEL}/events/e1", headers=eve)
    assert "age_band" not in event.json()
    assert event.json()["amount"] == 7.5
    assert event.headers["x-assay-withheld"] == "age_band"
    export = client.get(f"{MODEL}/events", headers=eve)
    assert json.loads(export.text.splitlines()[0])["event_id"] == "e1"
    assert export.headers["x-assay-withheld"] == "age_band"
    kept = client.get(f"{MODEL}/quarantine", headers=eve).json()["items"]
    assert json.loads(kept[0]["raw"])["amount"] == "much"  # other columns stay, so that the row can be mended
    assert all("[withheld]" in row["raw"] for row in kept)
    again = client.post(f"{MODEL}/quarantine/replay", json={"all": True}, headers=eve)
    assert SECRET not in again.text


def test_whoever_may_reads_them_and_each_read_is_recorded_without_a_value(client: TestClient) -> None:
    assert client.get(f"{MODEL}/event", params={"event_id": "e1"}).json()["age_band"] == SECRET
    assert SECRET in client.get(f"{MODEL}/events").text
    window = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "format": "parquet"}
    assert SECRET in told(client.get(f"{MODEL}/events", params=window).content)
    assert SECRET in client.get(f"{MODEL}/quarantine").text
    bodies = [entry["body"] for entry in reads(client)]
    assert [(b["through"], b["rows"]) for b in bodies] == [
        ("event", 1), ("export", None), ("export", 1), ("export", None), ("export", 1), ("quarantine", 4),
    ]  # fmt: skip
    assert all((b["columns"], b["by"]["actor"]) == (["age_band"], "admin") for b in bodies)
    assert bodies[4]["from"] == "2026-01-01T00:00:00.000000Z"
    assert SECRET not in json.dumps(bodies)
    client.get(f"{MODEL}/events", params={"kind": "outcomes"}).raise_for_status()
    assert len(reads(client)) == 6  # outcomes hold no protected column


def test_a_column_that_was_protected_once_stays_so_in_every_later_spec(client: TestClient) -> None:
    columns = SPEC["columns"] | {"age_band": {"role": "segment", "type": "category"}}
    client.put(MODEL, json=SPEC | {"columns": columns}).raise_for_status()
    eve = key(client, "eve", "operator")
    for path in (f"{MODEL}/events/e1", f"{MODEL}/events"):
        assert SECRET not in client.get(path, headers=eve).text
    gone = {name: column for name, column in SPEC["columns"].items() if name != "age_band"}
    client.put(MODEL, json=SPEC | {"columns": gone}).raise_for_status()
    assert SECRET not in client.get(f"{MODEL}/events", headers=eve).text


def test_a_report_on_raw_rows_of_a_protected_number_is_refused_and_of_groups_is_not(
    client: TestClient, site: Site
) -> None:
    columns = SPEC["columns"] | {"age": {"role": "protected", "type": "number"}}
    client.put(MODEL, json=SPEC | {"columns": columns}).raise_for_status()
    operator, admin = Caller("eve", Role.OPERATOR, "p"), Caller("admin", Role.ADMIN, "q")
    with site.database.read() as db:
        with pytest.raises(ForbiddenError, match=r"protected\.read"):
            refuse_confirmed_protected(site, db, operator, "router", ["amount", "age"])
        refuse_confirmed_protected(site, db, operator, "router", ["amount", "age_band"])
        refuse_confirmed_protected(site, db, admin, "router", ["amount", "age"])
    assert [(e["body"]["through"], e["body"]["columns"]) for e in reads(client)] == [("confirmation", ["age"])]
