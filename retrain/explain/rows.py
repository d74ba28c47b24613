"""Explain one decision of a model of typed columns, and keep the record."""

from collections.abc import Mapping
from typing import Any

from core.errors import InvalidError
from monitor.errors import EventNotFoundError
from monitor.explain.tables.document import finite, table_document
from monitor.site import Site
from monitor.spec.model import ModelSpec
from retrain import store
from retrain.explain.kept import keep
from retrain.explain.tables import TableBasis, attribute


def explain_row(site: Site, model_name: str, event_id: str, *, again: bool) -> None:
    """Attribute the answer to the columns; without effect where that was done before, unless it is asked for again.

    Raises:
        EventNotFoundError, NoChampionError: nothing to explain, or nothing to explain it with.
        ModelFileError, PickledModelError, InvalidError: the file or endpoint of the spec cannot be used.
        TrainerError: what ended the process: a file that does not fit, an endpoint that gave no answer.
    """
    event = site.events.event(model_name, event_id)
    if event is None:
        raise EventNotFoundError(model_name, event_id)
    with site.database.read() as db:
        basis = TableBasis.of(site, db, model_name, str(event["version"]))
        if not again and store.explanation(db, basis.current.model.id, event_id, basis.version) is not None:
            return
    if (why := basis.other_version) is not None:
        raise InvalidError(f"{why}; declare the file of that version to explain it", field="explain.version")
    frame = site.events.events(
        model_name, from_seq=event["seq"], to_seq=event["seq"] + 1, columns=["event_id", "seq", *basis.names]
    )
    found = attribute(site, basis, frame)
    line = found.lines.row(0, named=True)
    document = told(basis.current.spec, basis.version, event, table_document(line, found.facts, event))
    keep(site, basis.current.model, basis.version, basis.node_digest, event_id, document)


def told(spec: ModelSpec, version: str, event: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the version it was made with, and the answer as it was given."""
    answer = event.get(spec.with_role("prediction")[0])
    notes = list(document["notes"])
    if (answered_by := str(event["version"])) != version:
        notes.append(
            f"version {answered_by} answered and is not registered; this explains what {version}, the champion, "
            "says of the same input"
        )
    told_by = {"notes": notes, "answer": answer, "answered_by": answered_by, "version": version}
    return finite({**document, **told_by})
