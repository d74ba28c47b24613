"""Attributions of windows, from the model file to measurements and alerts."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from core.queue import Job
from governance.access.api_keys import first_admin
from monitor import store
from monitor.site import Site
from monitor.tables import Measurement, Window
from monitor.windows.evaluate import evaluate
from retrain.reasons.over_time import watch
from tests.databases import SQLITE_ONLY
from tests.retrain.reasons import lending

WATCHED = {"windows": {"rows": 200}, "false_alarms": {"alpha": 0.4}, "attribution": {"rows": 150, "by": ["channel"]}}


def measured(site: Site, window: Window) -> dict[tuple[str, str, str], Measurement]:
    with site.database.read() as db:
        rows = store.window_measurements(db, window.id, monitor="attribution")
    return {(row.metric, row.column, row.segment): row for row in rows}


@SQLITE_ONLY
def test_a_window_whose_inputs_moved_counts_on_other_columns_and_alarms(site: Site, tmp_path: Path) -> None:
    file, booster = lending.model(tmp_path)
    lending.declare(site, lending.spec(file, baseline={"rows": "first 1600"}, monitors=WATCHED))
    same = lending.decisions(booster, lending.applicants(1_600, 7), 0)
    # From here on everybody has paid late, often: `late` decides where income did.
    late = lending.applicants(200, 8).with_columns(late=pl.Series(np.random.default_rng(3).poisson(6, 200) + 0.0))
    lending.send(site, pl.concat([same, lending.decisions(booster, late, 1_600)]))
    evaluate(site, "loans")
    with site.database.read() as db:
        window = store.windows(db, store.model(db, "loans").id)[-1]
        job = db.scalars(select(Job).where(Job.name == "retrain.attributions")).all()
    assert [one.payload["window_id"] for one in job][-1] == str(window.id)

    watch(site, "loans", window.id)
    found = measured(site, window)
    drift = found["attribution_drift", "", ""]
    assert drift.value is not None, drift.reason
    assert drift.alarm
    assert drift.limit == pytest.approx(0.4 * 0.05)
    assert drift.details["columns"][0] == "late"
    assert "`late` counts more" in drift.details["sentence"]
    assert drift.details["interactions"]["pairs"], drift.details["interactions"]
    assert found["attribution_ndcg", "", ""].value < 1.0  # type: ignore[operator]
    # Against xgboost's own contributions of the same rows; 150 of 200 rows are drawn.
    matrix = xgboost.DMatrix(late.to_numpy(), feature_names=list(lending.FEATURES))
    means = np.abs(np.asarray(booster.predict(matrix, pred_contribs=True))[:, :-1]).mean(axis=0)
    for name, mean in zip(lending.FEATURES, means, strict=True):
        assert found["mean_abs_attribution", name, ""].value == pytest.approx(mean, rel=0.15)
    shares = [found["mean_abs_attribution", "late", f"channel={one}"] for one in ("shop", "web")]
    assert sum(one.n for one in shares) == 150
    with site.database.read() as db:
        alerts = [alert for alert in store.alerts(db, store.model(db, "loans").id) if alert.monitor == "attribution"]
        assert len(alerts) == 1
        assert db.get_one(Window, window.id).verdict == "alarm"

    with TestClient(create_app(site), headers={"Authorization": f"Bearer {first_admin(site)}"}) as client:
        told = client.get("/api/v1/models/loans/attributions", params={"column": "late"}).json()
        assert told["declared"]
        assert {one["segment"] for one in told["items"]} == {"", "channel=shop", "channel=web"}
        shown = client.get("/models/loans/columns").text
        section = shown[shown.index('id="attributions"') :]
        assert ">late<" in section, section[:1500]
        assert client.get(f"/windows/{window.id}").status_code == 200
