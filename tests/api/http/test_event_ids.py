"""Every id that was taken can be read again, whatever characters of an address it has."""

from urllib.parse import quote

from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from core.jobs import ExplainJob
from core.queue import Job
from governance.access.api_keys import first_admin
from monitor.site import Site
from tests.databases import SQLITE_FIRST
from tests.server.conftest import SPEC, event

MODEL = "/api/v1/models/support-intents"
IDS = [
    "x", "x/explanation", "x/explanation/explanation", "/explanation", "explanation", "a/b", "/a", "a/", "a//b",
    "a?b=c", "a#b", "a b", "a+b", "a&event_id=x", "é/ü", "only/explanation", "☃" * 200, "a;b", "..a", "\\a", "a:b@c",
]  # fmt: skip
LONG = ["\N{SNOWMAN}" * 199 + end for end in "ab"]  # as long as an id may be, and alike to the last character
# Clients resolve dots in an address, and the test client reads an escaped % twice; a query has neither.
OTHERS = [".", "..", "a/..", "../../keys", "a%2Fb", "100%", *LONG]


@SQLITE_FIRST
def test_an_id_that_was_taken_can_be_read(site: Site) -> None:
    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        assert client.put(MODEL, json=SPEC).status_code == 201
        taken = client.post(
            f"{MODEL}/events", json=[event(one, ts="2026-01-05T00:00:00Z") for one in IDS + OTHERS]
        ).json()
        assert (taken["accepted"], taken["rejected"]) == (len(IDS + OTHERS), [])
        for one in IDS:
            answer = client.get(f"{MODEL}/events/{quote(one, safe='')}")
            assert (answer.status_code, answer.json().get("event_id")) == (200, one)
        for one in IDS + OTHERS:
            answer = client.get(f"{MODEL}/event", params={"event_id": one})
            assert (answer.status_code, answer.json().get("event_id")) == (200, one)
        exported = client.get(f"{MODEL}/events", params={"format": "ndjson"}).text.splitlines()  # not one event
        assert len(exported) == len(IDS + OTHERS)
        assert client.get(f"{MODEL}/events/only/explanation").json()["event_id"] == "only/explanation"
        for answer in (
            client.get(f"{MODEL}/events/x/explanation"),
            client.get(f"{MODEL}/events/{quote('x/explanation', safe='')}/explanation"),
            client.get(f"{MODEL}/explanations", params={"event_id": "../../keys"}),
        ):
            assert (answer.status_code, answer.json()["state"]) == (202, "queued")
        for one in LONG:
            assert client.get(f"{MODEL}/explanations", params={"event_id": one}).status_code == 202
        with site.database.read() as db:
            asked = db.scalars(select(Job.payload).where(Job.name == ExplainJob.name)).all()
        assert {payload["event_id"] for payload in asked} >= set(LONG)
        assert client.get(f"{MODEL}/events/none/explanation").status_code == 404
        assert client.get(f"{MODEL}/events/x").json()["event_id"] == "x"
