"""Decisions on typed columns: explained by the file or endpoint that the spec names, as users ask over HTTP."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import select

from api.app import create_app
from api.processes import worker
from core.jobs import ExplainBatchJob, FlipsJob
from core.queue import Retry, enqueue
from core.settings_train import TrainSettings
from governance.access.api_keys import first_admin
from monitor.site import Site
from monitor.tables import ExplanationBlock
from retrain import jobs
from retrain.explain.blocks import explain_events
from tests.databases import SQLITE_FIRST
from tests.retrain.scoring import scored, serving, share_of
from tests.retrain.train.tabular.loans import PURPOSES, loans

pytestmark = SQLITE_FIRST
MODEL = "/api/v1/models/loans"
COLUMNS = {
    "age": {"role": "input", "type": "number"}, "purpose": {"role": "input", "type": "category"},
    "owner": {"role": "input", "type": "boolean"}, "branch": {"role": "input", "type": "category"},
    "answer": {"role": "prediction", "type": "boolean"}, "customer": {"role": "subject", "type": "string"},
}  # fmt: skip


@pytest.fixture
def loan_site(site: Site) -> Site:
    return replace(site, settings=site.settings.model_copy(update={"train": TrainSettings(device="cpu", threads=1)}))


@pytest.fixture
def client(loan_site: Site) -> Iterator[TestClient]:
    headers = {"Authorization": f"Bearer {first_admin(loan_site)}"}
    with TestClient(create_app(loan_site), headers=headers) as made:
        yield made


def spec(explain: dict[str, Any], columns: dict[str, Any] = COLUMNS, task: str = "classification") -> dict[str, Any]:
    return {
        "model": "loans", "task": task, "owner": "ml@example.com", "purpose": "lend", "columns": columns,
        "explain": explain,
    }  # fmt: skip


def booster(file: Path, rows: pl.DataFrame) -> Any:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=6, max_depth=3, enable_categorical=True)
    model.fit(frame_of(rows), (rows["repaid"] == "yes").to_numpy().astype(int))
    model.save_model(file)
    return model


def frame_of(rows: pl.DataFrame) -> Any:
    import pandas as pd

    frame = rows.select("age", "purpose", "owner", "branch").to_pandas()
    frame["purpose"] = pd.Categorical(frame["purpose"], categories=PURPOSES)
    frame["branch"] = pd.Categorical(frame["branch"], categories=[str(i) for i in range(6, 0, -1)])
    frame["owner"] = frame["owner"].astype(bool)
    return frame


def events(rows: pl.DataFrame, answers: list[Any]) -> list[dict[str, Any]]:
    inputs = rows.select("age", "purpose", "owner", "branch").to_dicts()
    return [
        {"event_id": f"e{i}", "ts": "2026-01-04T12:00:00Z", "version": "v7", "customer": f"c{i}", "answer": a, **row}
        for i, (row, a) in enumerate(zip(inputs, answers, strict=True))
    ]


def asked(client: TestClient, site: Site, event: str, **query: Any) -> Any:
    """The answer after a worker had its turn."""
    path = f"{MODEL}/events/{event}/explanation"
    first = client.get(path, params=query)
    assert first.status_code == 202, first.text
    worker.drain(site, lanes=("explain",))
    return client.get(path)


def test_an_answer_of_a_brought_file_is_told_by_columns_alone_and_in_a_block(
    client: TestClient, loan_site: Site, tmp_path: Path
) -> None:
    rows = loans(30, seed=3)
    model = booster(tmp_path / "model.ubj", loans(200))
    given = [bool(one) for one in model.predict(frame_of(rows))]
    given[1] = not given[1]
    assert client.put(MODEL, json=spec({"model": str(tmp_path / "model.ubj")})).status_code == 201
    assert client.post(f"{MODEL}/events", json=events(rows, given)).json()["accepted"] == 30
    margin = model.predict(frame_of(rows), output_margin=True)
    yes, no = given.index(True, 2), given.index(False, 2)
    check(asked(client, loan_site, f"e{no}").json(), answer=False, output=-margin[no], age=rows["age"][no])
    other = asked(client, loan_site, "e1").json()
    assert other["state"] == "withheld"
    assert f"the model answers '{str(not given[1]).lower()}' to these inputs, the event says" in other["reason"]
    assert all(part["value"] is None for part in other["explanation"]["columns"])
    assert other["additivity_residual"] is not None
    batch = client.post(f"{MODEL}/explanations", json={}).json()
    with loan_site.database.write() as db:  # nobody waits for this, but it is not to wait for a batch of many hours
        enqueue(db, FlipsJob(model="loans"), now=loan_site.clock.now())
    gave_way = jobs.explain_batch(loan_site, ExplainBatchJob(model="loans", batch_id=UUID(batch["id"])))
    assert isinstance(gave_way, Retry)
    assert client.get(f"{MODEL}/explanations/{batch['id']}").json()["explained"] == 30, "only after a block"
    worker.drain(loan_site, lanes=("explain",))
    done = client.get(f"{MODEL}/explanations/{batch['id']}").json()
    assert (done["state"], done["explained"], done["withheld"]) == ("done", 30, 1)
    with loan_site.database.read() as db:
        (block,) = db.scalars(select(ExplanationBlock)).all()
    lines = pl.read_parquet(loan_site.artifacts.path(block.artifact))
    assert lines["residual"].null_count() == 0
    assert block.rows == lines.height == 30
    inside = client.get(f"{MODEL}/events/e{yes}/explanation").json()  # a line of the block
    check(inside, answer=True, output=margin[yes], age=rows["age"][yes])
    erased(client, loan_site, yes)


def check(told: dict[str, Any], *, answer: bool, output: float, age: float | None) -> None:
    """The answer given is explained, in the direction of that answer, and adds up to the margin of the file."""
    found = told["explanation"]
    assert (told["state"], found["label"], found["answer"]) == ("ready", str(answer).lower(), answer)
    assert (found["unit"], found["version"]) == ("log-odds", "v7")
    assert found["output"] == pytest.approx(output, abs=1e-5)
    total = found["base_value"] + sum(part["value"] for part in found["columns"])
    assert total == pytest.approx(found["output"], abs=found["tolerance"])
    assert found["residual"] <= found["tolerance"]
    assert [part["column"] for part in found["columns"]] == ["age", "purpose", "owner", "branch"]
    assert found["columns"][0]["given"] == age  # missing stays missing
    assert found["version_digest"].startswith("sha256:")


def erased(client: TestClient, site: Site, row: int) -> None:
    """An erased event is in no block any more, and its old file is gone."""
    with site.database.read() as db:
        (before,) = db.scalars(select(ExplanationBlock.artifact)).all()
    assert client.post("/api/v1/erasures", json={"subject": f"c{row}"}).status_code == 202
    worker.drain(site)
    with site.database.read() as db:
        (block,) = db.scalars(select(ExplanationBlock)).all()
    assert not site.artifacts.has(before)
    lines = pl.read_parquet(site.artifacts.path(block.artifact))
    assert (block.rows, f"e{row}" in lines["event_id"].to_list()) == (29, False)
    assert client.get(f"{MODEL}/events/e{row}/explanation").status_code == 404


def test_a_pickle_is_refused_by_its_content_and_asked_again_once_mended(
    client: TestClient, loan_site: Site, tmp_path: Path
) -> None:
    rows, file = loans(3, seed=3), tmp_path / "model.ubj"
    model = booster(file, loans(200))
    content = file.read_bytes()
    file.write_bytes(pickle.dumps(model.get_params()))
    client.put(MODEL, json=spec({"model": str(file)})).raise_for_status()
    client.post(f"{MODEL}/events", json=events(rows, [bool(one) for one in model.predict(frame_of(rows))]))
    refused = asked(client, loan_site, "e0")
    assert (refused.status_code, refused.json()["code"]) == (409, "explanation_failed")
    assert "the file is a pickle, whatever its name" in refused.json()["detail"]
    assert "accepted are XGBoost's JSON or UBJSON" in refused.json()["detail"]
    file.write_bytes(content)
    assert client.get(f"{MODEL}/events/e0/explanation").status_code == 409
    assert client.get(f"{MODEL}/events/e0/explanation", params={"again": True}).status_code == 202


def test_an_endpoint_is_asked_with_its_secret_and_what_is_no_answer_ends_it(site: Site) -> None:
    with serving() as (url, answers, seen):
        answers.append(scored)
        endpoint_asked(site, url, answers, seen)


def endpoint_asked(site: Site, url: str, answers: list[Any], seen: list[dict[str, str]]) -> None:
    updated = {"train": TrainSettings(device="cpu", threads=1), "endpoints": {"scores": SecretStr(url)}}
    own = replace(site, settings=site.settings.model_copy(update=updated))
    headers = {"Authorization": f"Bearer {first_admin(own)}"}
    rows = loans(12, seed=4)
    given = [share_of(row) >= 0.5 for row in rows.to_dicts()]
    with TestClient(create_app(own), headers=headers) as client:
        declared = {"endpoint": "scores", "timeout": "1s", "budget": 500, "features": ["age", "owner"]}
        client.put(MODEL, json=spec(declared)).raise_for_status()
        client.post(f"{MODEL}/events", json=events(rows, given)).raise_for_status()
        found = asked(client, own, "e0").json()["explanation"]
        assert (found["unit"], [part["column"] for part in found["columns"]]) == ("probability", ["age", "owner"])
        assert found["evals"] <= found["budget"] + 1
        assert found["background_source"] == "first events"
        assert seen[0]["Authorization"] == "Bearer sesame"
        others = dict(declared, endpoint="elsewhere")
        answers[0] = lambda _: (200, b"<html>busy</html>")
        told = asked(client, own, "e1")
        assert told.status_code == 409
        assert "endpoint scores: its answer is no JSON" in told.json()["detail"]
        assert "sesame" not in told.text
        client.put(MODEL, json=spec(others)).raise_for_status()
        assert "is no endpoint of this installation; it has scores" in asked(client, own, "e9").json()["detail"]


@pytest.mark.slow
def test_a_block_is_not_computed_again_and_a_lost_one_is(client: TestClient, loan_site: Site, tmp_path: Path) -> None:
    rows = loans(30, seed=3)
    model = booster(tmp_path / "model.ubj", loans(200))
    client.put(MODEL, json=spec({"model": str(tmp_path / "model.ubj")})).raise_for_status()
    client.post(f"{MODEL}/events", json=events(rows, [bool(one) for one in model.predict(frame_of(rows))]))

    def run() -> list[ExplanationBlock]:
        wanted = loan_site.events.events("loans", columns=["event_id", "seq", "version"])
        explain_events(loan_site, "loans", wanted, lambda *_: None, rows=15)
        with loan_site.database.read() as db:
            return list(db.scalars(select(ExplanationBlock).order_by(ExplanationBlock.from_seq)))

    first = run()
    assert [(b.from_seq, b.to_seq, b.rows) for b in first] == [(0, 15, 15), (15, 30, 15)]
    assert [b.id for b in run()] == [b.id for b in first]
    loan_site.artifacts.delete(first[1].artifact)  # as if the worker had died before it was written
    assert len(run()) == 3
    assert client.get(f"{MODEL}/events/e20/explanation").status_code == 200
    assert np.isfinite(first[0].residual)


@pytest.mark.slow
def test_a_model_without_trees_in_a_format_of_trees_is_asked_over_a_background(
    client: TestClient, loan_site: Site, tmp_path: Path
) -> None:
    import xgboost

    rows = loans(30, seed=3)
    ages = rows["age"].fill_null(40.0)
    data = xgboost.DMatrix(ages.to_numpy()[:, None], label=(ages > 40).to_numpy(), feature_names=["age"])
    model = xgboost.train({"booster": "gblinear", "objective": "binary:logistic", "nthread": 1}, data, 5)
    model.save_model(tmp_path / "model.ubj")
    client.put(MODEL, json=spec({"model": str(tmp_path / "model.ubj"), "features": ["age"]})).raise_for_status()
    given = [bool(one > 0.5) for one in model.predict(data)]
    client.post(f"{MODEL}/events", json=events(rows.with_columns(age=ages), given)).raise_for_status()
    told = asked(client, loan_site, "e0").json()
    assert told["state"] == "ready", told
    assert told["explanation"]["background_source"] == "first events"
    assert "the trees were asked like any model" in told["explanation"]["notes"][0]
