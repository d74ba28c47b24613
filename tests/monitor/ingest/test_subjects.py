"""A person is one subject, however a program spells them: otherwise an erasure leaves rows behind."""

from pathlib import Path

import pytest

from monitor.events.store import EventStore
from monitor.ingest.ndjson import Rejection
from monitor.ingest.quarantine import quarantine_rows
from tests.monitor.events.test_store import SPEC


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return EventStore(str(tmp_path / "lake"), tmp_path, b"key")


def test_a_name_is_one_person_in_composed_and_decomposed_form(store: EventStore) -> None:
    assert store.subject_digest("Jose\u0301") == store.subject_digest("Jos\u00e9")
    assert store.subject_digest("Jose") != store.subject_digest("Jos\u00e9")


@pytest.mark.parametrize(
    ("sent", "person"),
    [("17", "17"), ("17.0", "17"), ("1e3", "1000"), ('"Jose\u0301"', "Jos\u00e9"), ('"17.0"', "17.0"), ("true", "true"),
     ("[" * 50_000, "[" * 50_000), ("9" * 6_000, "9" * 6_000)],
)  # fmt: skip
def test_a_rejected_row_names_its_subject_as_a_stored_one_does(store: EventStore, sent: str, person: str) -> None:
    raw = f'{{"event_id": "e", "person": {sent}, "score": "high"}}'
    kept = quarantine_rows(
        SPEC, "events", [Rejection(1, "score", "is no number", raw)], None, key=b"k", digest=store.subject_digest
    )
    assert kept["subject"].to_list() == [store.subject_digest(person)]
