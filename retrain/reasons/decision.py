"""Give the reasons of one decision, or say why there are none; kept as an artifact, with its codes in the ledger."""

import json
from typing import Any, Final

import polars as pl

from core.canonical import digest
from core.errors import AppError, BusyError, InvalidError
from governance.ledger.append import SYSTEM_ACTOR, append_entry
from monitor.confirm import drafts
from monitor.errors import EventNotFoundError
from monitor.reasons.codes import Population, ReasonInputs
from monitor.reasons.record import reasons_record
from monitor.service import CurrentSpec, current_spec
from monitor.site import Site
from monitor.spec.reasons import Reasons, never_told
from retrain.reasons.ask import Asking
from retrain.reasons.block import adverse_output, adverse_words, is_adverse, written
from retrain.reasons.population import population_of
from retrain.reasons.probe import probed
from retrain.reasons.stored import stored_reasons
from retrain.tables import DecisionReasons

NOBODY: Final = Population(name="", rows=0, digest="", means={})


class NoReasonsDeclaredError(InvalidError):
    code = "no_reasons_declared"


def reason(site: Site, model_name: str, event_id: str, *, again: bool = False) -> None:
    """Give the reasons of a decision; without effect where reasons were issued, or under this spec revision already.

    Args:
        again: whether what was withheld under this revision is looked at anew.

    Raises:
        EventNotFoundError: no event has this id.
        NoReasonsDeclaredError: the spec does not say which decisions are adverse.
    """
    with site.database.read() as db:
        current = current_spec(site, db, model_name)
        held = stored_reasons(db, current.model.id, event_id)
    event = site.events.event(model_name, event_id)
    if event is None:
        raise EventNotFoundError(model_name, event_id)
    if current.spec.reasons is None:
        raise NoReasonsDeclaredError(
            f"{model_name} declares no reasons: say in `reasons` which decisions are adverse and how they are told",
            field="reasons", value=None,
        )  # fmt: skip
    if _stands(held, current, again):
        return
    keep_reasons(site, current, event_id, _document(site, current, current.spec.reasons, event), again=again)


def _document(site: Site, current: CurrentSpec, reasons: Reasons, event: dict[str, Any]) -> dict[str, Any]:
    """The record of one decision, with all that its codes follow from."""
    given = event.get(current.spec.with_role("prediction")[0])
    truth = current.spec.columns[current.spec.with_role("prediction")[0]].type == "boolean"
    decided = str(written(given, truth=truth))
    inputs: dict[str, Any] = {
        "decision": decided, "explained": decided, "adverse": is_adverse(reasons, given, truth=truth),
        "adverse_means": adverse_words(reasons), "toward": 1, "attributions": {}, "residual": 0.0, "tolerance": 0.0,
        "population": NOBODY, "table": reasons.reason_table, "protected": never_told(current.spec),
        "most": reasons.most,
    }  # fmt: skip
    told: dict[str, Any] = {"answered_by": str(event["version"]), "explained_with": None}
    probes: dict[str, Any] = {}
    if inputs["adverse"]:  # nothing else is explained for this
        try:
            asking = Asking.of(site, current, str(event["version"]))
            found, probes = _explained(site, asking, reasons, event)
            inputs |= found
            told["explained_with"] = asking.told
        except BusyError:
            raise  # the job is tried again
        except AppError as error:
            inputs["cause"] = error.message
    record = reasons_record(ReasonInputs(**inputs))
    return {"event_id": event["event_id"], "spec_revision": current.revision, **told, **record, **probes}


def _explained(
    site: Site, asking: Asking, reasons: Reasons, event: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributions of a decision beside those of the population; and what a person could change."""
    names = [*asking.current.spec.event_columns, "event_id", "seq"]
    row = pl.DataFrame([{name: event.get(name) for name in names}], schema_overrides=asking.dtypes)
    block = asking.attributed(row, recorded=True)
    adverse = adverse_output(reasons, block, truth=asking.truth)
    line = block.frame.row(0, named=True)
    found: dict[str, Any] = {
        "toward": adverse.toward, "adverse_means": adverse.means, "cause": line["reason"],
        "residual": float(line["residual"][adverse.place]), "tolerance": float(line["tolerance"][adverse.place]),
    }  # fmt: skip
    if line["reason"] is not None:
        own = line["own"]
        return found | ({} if own is None else {"explained": _spelled(own, asking)}), {}
    values = block.values()[0, :, adverse.place]
    found["attributions"] = {name: float(value) for name, value in zip(block.columns, values, strict=True)}
    found["population"] = population_of(site, asking, reasons, adverse)
    return found, probed(asking, reasons, row, block, adverse)


def _spelled(own: Any, asking: Asking) -> str:
    return str(own) if asking.current.spec.task == "regression" else str(written(own, truth=asking.truth))


def _stands(held: DecisionReasons | None, current: CurrentSpec, again: bool) -> bool:
    """Whether stored reasons stay: issued ones for good, others under their revision unless asked for again."""
    if held is None or held.state == "issued":
        return held is not None
    return held.spec_revision == current.revision and not (again and held.state == "withheld")


def keep_reasons(
    site: Site, current: CurrentSpec, event_id: str, document: dict[str, Any], *, again: bool = False
) -> None:
    """Store a record and its entry of the ledger; without effect where reasons were issued, or under this revision."""
    content = json.dumps(document, ensure_ascii=False, indent=1, default=str).encode()
    draft = drafts.begin(site, content, current.model.id, event_id=event_id)
    result, inputs = document["result"], document["inputs"]
    with site.database.write() as db:
        drafts.end(db, draft)
        held = stored_reasons(db, current.model.id, event_id)
        if _stands(held, current, again):
            return
        version = document["explained_with"] or {"version": document["answered_by"]}
        row, old = held, None
        if row is None or row.spec_revision != current.revision:
            row = DecisionReasons(model_id=current.model.id, event_id=event_id, spec_revision=current.revision)
            db.add(row)
        elif row.artifact != draft.artifact:
            old = drafts.replaced(db, current.model.id, row.artifact, event_id)
        row.version, row.state, row.artifact = version["version"], result["state"], draft.artifact
        row.table_version, row.created_at = inputs["table"]["version"], site.clock.now()
        append_entry(
            db, kind="reasons.created", actor=SYSTEM_ACTOR, subject=f"model:{current.model.name}",
            at=site.clock.now(),
            body={
                "reasons": draft.artifact, "version": version["version"], "spec_revision": current.revision,
                "state": result["state"], "codes": [code["code"] for code in result["codes"]],
                "findings": [one["feature"] for one in result["findings"]],
                "table_version": inputs["table"]["version"], "table_digest": document["table_digest"],
                "inputs_digest": document["inputs_digest"], "population": inputs["population"]["name"],
                "population_digest": inputs["population"]["digest"], "codes_digest": document["codes_digest"],
                "rule": digest(document["rule"]),
            },
        )  # fmt: skip
    if old is not None:
        drafts.discard(site, old)
