"""What an endpoint answers is believed only if it is an answer; each fault has its words, and none lasts."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from retrain.evals.explain_rows import EndpointPlace, RowsConfig, served_of
from retrain.evals.served.base import Declared
from retrain.evals.served.endpoint import Endpoint, EndpointError, read_endpoint
from retrain.train.tabular.recipe import TableColumn
from retrain.train.tabular.rows import typed
from tests.retrain.scoring import Answer, serving
from tests.retrain.train.tabular.loans import loans


def late(_: dict[str, Any]) -> tuple[int, bytes]:
    threading.Event().wait(2.5)
    return 200, b"{}"


BAD: list[tuple[Answer, str]] = [
    (lambda _: (200, b"<html>busy</html>"), "its answer is no JSON"),
    (lambda _: (200, b'{"predictions": []}'), 'its answer has no list "scores"'),
    (
        lambda body: (200, json.dumps({"scores": [[0.5, 0.5]] * (len(body["rows"]) + 1)}).encode()),
        "has length 4, and the request has 3",
    ),
    (lambda body: (200, json.dumps({"scores": [[0.5, float("nan")]] * len(body["rows"])}).encode()), "finite numbers"),
    (
        lambda body: (200, b'{"scores": [%s]}' % b",".join([b"1" + b"0" * 400] * len(body["rows"]))),
        "as a score; scores",
    ),
    (lambda _: (302, b""), "answered 302, a redirect, which is not followed"),
    (lambda _: (503, b"no"), "answered 503, and 200 is expected"),
    (late, "no answer within 1 s"),
]


@pytest.mark.parametrize(("answer", "words"), BAD, ids=[words[:20] for _, words in BAD])
def test_what_is_no_answer_of_an_endpoint_is_named(answer: Answer, words: str) -> None:
    columns = (TableColumn(name="age", type="number"), TableColumn(name="owner", type="boolean"))
    declared = Declared(columns=columns, inputs=("age", "owner"), outputs=("no", "yes"))
    begun = time.monotonic()
    with serving() as (url, answers, _), pytest.raises(EndpointError, match=words) as told:
        answers.append(answer)
        read_endpoint(Endpoint("scores", url, 1.0), declared, typed(loans(3), columns))
    assert "sesame" not in told.value.message
    assert time.monotonic() - begun < 3.5


def test_the_time_of_all_requests_grows_with_the_rows_explained() -> None:
    endpoint = Endpoint("scores", "http://localhost/score", 1.0, rows=300)
    with pytest.raises(EndpointError, match="its answers took more than 3000 s in all"):
        endpoint.ask(loans(1), until=time.monotonic())


def test_one_margin_between_0_and_1_is_no_probability(tmp_path: Path) -> None:
    columns = (TableColumn(name="age", type="number"), TableColumn(name="owner", type="boolean"))
    for name, ages in (("rows", [40.0]), ("background", [20.0, 60.0, None])):
        frame = pl.DataFrame({"age": ages, "owner": True}, schema={"age": pl.Float64, "owner": pl.Boolean})
        frame.write_parquet(tmp_path / f"{name}.parquet")

    def margins(body: dict[str, Any]) -> tuple[int, bytes]:
        scores = [0.3 + ((row["age"] or 40) - 40) / 10 for row in body["rows"]]
        return 200, json.dumps({"scores": scores}).encode()

    with serving() as (url, answers, _):
        answers.append(margins)
        config = RowsConfig(
            endpoint=EndpointPlace(name="scores", url=url, timeout_s=5.0),
            declared=Declared(columns=columns, inputs=("age", "owner"), outputs=("no", "yes")),
            rows=tmp_path / "rows.parquet", background=tmp_path / "background.parquet", interventional=False,
            budget=100, output_dir=tmp_path,
        )  # fmt: skip
        rows = pl.read_parquet(config.rows)
        served = served_of(config, rows)
        raw = served.raw_of(rows)
        assert (served.unit, int(served.scores(rows, raw).argmax())) == ("margin", 1)
