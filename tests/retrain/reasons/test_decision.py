"""Reasons of single decisions, from the model file to the record: against xgboost's own contributions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost

from governance.ledger.read import ledger_rows
from monitor import store
from monitor.reasons.record import check_record
from monitor.site import Site
from monitor.windows.evaluate import evaluate
from retrain.reasons.decision import reason
from retrain.reasons.stored import shown_reasons, stored_reasons, told_reasons
from tests.databases import SQLITE_ONLY
from tests.retrain.reasons import lending


def told(site: Site, event_id: str) -> dict[str, Any]:
    reason(site, "loans", event_id)
    with site.database.read() as db:
        row = stored_reasons(db, store.model(db, "loans").id, event_id)
    assert row is not None
    return told_reasons(site, row)


def contributions(booster: xgboost.Booster, rows: pl.DataFrame) -> np.ndarray:
    """xgboost's own TreeSHAP of the margin of "refused", without the base value; (rows, features)."""
    matrix = xgboost.DMatrix(rows.select(lending.FEATURES).to_numpy(), feature_names=list(lending.FEATURES))
    return np.asarray(booster.predict(matrix, pred_contribs=True))[:, :-1]


@SQLITE_ONLY
def test_reasons_of_a_refusal_are_those_of_xgboosts_own_contributions(site: Site, tmp_path: Path) -> None:
    file, booster = lending.model(tmp_path)
    lending.declare(site, lending.spec(file))
    sent = lending.decisions(booster, lending.applicants(500, 7), 0)
    lending.send(site, sent)
    evaluate(site, "loans")
    refused = sent.filter(pl.col("decision") == "refused").row(-1, named=True)
    found = told(site, refused["event_id"])
    assert found["result"]["state"] == "issued", found["result"]["why"]

    # By hand: the approved rows of the reference are fewer than 200 or 200 drawn ones; take the record's own count.
    approved = sent.head(400).filter(pl.col("decision") == "approved")
    population = found["inputs"]["population"]
    assert (population["name"], population["rows"]) == ("approved", min(200, approved.height))
    means = contributions(booster, approved).mean(axis=0)
    recorded = [population["means"][name] for name in lending.FEATURES]
    assert recorded == pytest.approx(means, abs=0.2)  # of a draw of them
    own = contributions(booster, pl.DataFrame([refused]))[0]
    assert [found["inputs"]["attributions"][n] for n in lending.FEATURES] == pytest.approx(own, abs=1e-4)
    pushes = dict(zip(lending.FEATURES, own - np.asarray(recorded), strict=True))
    sums = {"income": pushes["income"], "debt": pushes["debt"], "history": pushes["late"] + pushes["defaults"]}
    expected = sorted((name for name, value in sums.items() if value > 0), key=lambda name: -sums[name])
    assert [code["code"] for code in found["result"]["codes"]] == expected
    assert check_record(json.loads(json.dumps(found))) == []
    # Every change that is told was tried; with it, xgboost itself answers otherwise.
    for one in found["counterfactuals"]["found"]:
        changed = pl.DataFrame([refused | one["changes"]]).select(lending.FEATURES)
        assert (
            float(booster.predict(xgboost.DMatrix(changed.to_numpy(), feature_names=list(lending.FEATURES)))[0]) <= 0.5
        )
        assert one["changes"].get("income", 99.0) > refused["income"]
        assert one["changes"].get("debt", -1.0) < refused["debt"]
    assert 0.0 <= found["stability"]["top_kept"] <= 1.0

    # Age, which is protected, is a finding for compliance at most, and is not shown to others.
    assert all("age" not in code["features"] for code in found["result"]["codes"])
    shown = shown_reasons(found, {"age"})
    assert "age" not in json.dumps({**shown, "left_out": None, "inputs": {**shown["inputs"], "protected": []}})
    with site.database.read() as db:
        entry = next(row for row in ledger_rows(db, limit=1000) if row.kind == "reasons.created")
    assert json.loads(entry.entry)["body"]["codes"] == expected
    assert refused["event_id"] not in entry.entry

    # Not adverse: nothing is issued, and the record says why.
    granted = sent.filter(pl.col("decision") == "approved").row(-1, named=True)
    assert "not adverse" in told(site, granted["event_id"])["result"]["why"]
    # A new table changes no reasons that were issued.
    texts = dict.fromkeys(lending.REASONS["table"]["texts"], "Other words")
    lending.declare(site, lending.spec(file, reasons=lending.REASONS | {"table": {"version": "2", "texts": texts}}))
    assert told(site, refused["event_id"])["result"] == found["result"]


@pytest.mark.slow
@SQLITE_ONLY
def test_an_answer_that_is_not_the_models_own_gets_no_reasons(site: Site, tmp_path: Path) -> None:
    file, booster = lending.model(tmp_path)
    lending.declare(site, lending.spec(file))
    sent = lending.decisions(booster, lending.applicants(20, 7), 0)
    granted = sent.filter(pl.col("decision") == "approved").row(-1, named=True)
    forged = granted | {"event_id": "forged", "decision": "refused"}
    lending.send(site, pl.DataFrame([forged]))
    record = told(site, "forged")
    assert record["result"]["state"] == "withheld"
    assert "the explained version answers 'approved'" in record["result"]["why"]
    assert check_record(json.loads(json.dumps(record))) == []
