"""Each export is read back by the other side's own tool, and says what was recorded."""

import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from monitor.site import Site
from monitor.store import model as model_named
from reports.lineage.graph import graph_of
from reports.lineage.model_signature import signature_of, signing_key
from reports.lineage.openlineage_events import run_events
from reports.lineage.prov_documents import prov_document
from retrain import store
from retrain.provenance.declarations import declare
from retrain.tables import Run
from tests.retrain import lending, world
from tests.retrain.registry.test_versions import Http

MODEL = f"/api/v1/models/{world.NAME}"
GIVEN: dict[str, Any] = {
    "source": "made here", "licence": "Apache-2.0", "collected": {"from": "2025-01-01", "to": "2025-03-31"},
    "consent": "not_personal", "collector": "Example Ltd", "processing": [{"step": "fitted", "code": "assay"}],
    "known_biases": ["none known"], "synthetic_share": 1.0, "url": "https://example.com/base",
}  # fmt: skip


def export(http: Http, form: str, **params: str) -> bytes:
    answer = http.send("GET", f"{MODEL}/exports/{form}", params=params)
    assert answer.status_code == 200, answer.text
    content: bytes = answer.content
    return content


def _run(site: Site) -> Run:
    with site.database.read() as db:
        (run,) = store.runs(db, model_named(db, world.NAME).id)
        return run


def test_prov_is_read_by_its_library_as_the_same_document(lent: Site, http: Http) -> None:
    from prov.model import ProvActivity, ProvDocument, ProvEntity

    text = export(http, "prov")
    read = ProvDocument.deserialize(content=text.decode(), format="json")
    with lent.database.read() as db:
        graph = graph_of(db, model_named(db, world.NAME))
    assert read == prov_document(graph)
    kinds = [one.node.kind for one in graph.shown.values()]
    assert len(list(read.get_records(ProvEntity))) == len(kinds) - kinds.count("run")
    assert len(list(read.get_records(ProvActivity))) == 1 + 3 + 1 + 2  # run, its sets, the report, two promotions
    notation = export(http, "prov-n", version="v2").decode()
    assert notation.startswith("document")
    assert "wasGeneratedBy(" in notation
    assert "assay:report" not in notation  # of a version only what it was made from


def test_openlineage_events_pass_through_the_client_and_come_back_the_same(http: Http, tmp_path: Path) -> None:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
    from openlineage.client.transport.file import FileConfig, FileTransport

    lines = export(http, "openlineage").splitlines()
    sent = [json.loads(line) for line in lines]
    log = tmp_path / "events.jsonl"
    client = OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(log), append=True)))
    for one in sent:
        client.emit(
            RunEvent(
                eventType=RunState(one["eventType"]), eventTime=one["eventTime"], run=Run(**one["run"]),
                job=Job(**one["job"]), producer=one["producer"], inputs=[InputDataset(**d) for d in one["inputs"]],
                outputs=[OutputDataset(**d) for d in one["outputs"]],
            )
        )  # fmt: skip
    back = [json.loads(line) for line in log.read_text().splitlines()]
    for one in back:
        one["run"]["facets"].pop("tags")  # the client adds its own version
    assert back == [json.loads(line) for line in lines]
    steps = [(one["job"]["name"].rpartition(".")[2], one["eventType"]) for one in sent]
    assert steps == [(step, kind) for step in ("curation", "training", "evaluation", "promotion", "reporting")
                     for kind in ("START", "COMPLETE")]  # fmt: skip
    trained = next(e for e in sent if e["job"]["name"].endswith(".training") and e["eventType"] == "COMPLETE")
    assert [d["name"] for d in trained["outputs"]] == [f"{world.NAME}/version/v2"]
    assert {d["name"].split("/")[1] for d in trained["inputs"]} == {"dataset", "base_model"}
    assert all(e["run"]["facets"]["parent"]["run"]["runId"] != e["run"]["runId"] for e in sent[:8])


def test_a_run_begins_before_its_training_ends_and_reads_each_source_once(lent: Site) -> None:
    with lent.database.write() as db:
        model = model_named(db, world.NAME)
        run, v2 = db.get_one(Run, _run(lent).id), store.version(db, model.id, "v2", world.NAME)
        began = run.created_at = v2.created_at - timedelta(hours=1)
        db.flush()
        graph = graph_of(db, model)
        node = next(one for one in graph.shown.values() if one.node.kind == "run")
        twice = replace(node, node=replace(node.node, sources=(*node.node.sources, *node.node.sources)))
        events = run_events(replace(graph, shown={**graph.shown, node.node.digest: twice}), "here")
        db.rollback()
    steps = [one for one in events if not one.job.name.endswith(".reporting")]
    times = [datetime.fromisoformat(one.eventTime) for one in steps]
    assert times == sorted(times)
    assert times[0] == began
    read = [[source.name for source in one.inputs or ()] for one in steps]
    assert all(len(names) == len(set(names)) for names in read)


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_a_dataset_is_read_and_its_rows_are_loaded_by_mlcroissant(lent: Site, http: Http, tmp_path: Path) -> None:
    mlc = pytest.importorskip("mlcroissant")
    with lent.database.read() as db:
        graph = graph_of(db, model_named(db, world.NAME))
    train = next(one for one in graph.shown.values() if one.node.facts.get("role") == "train")
    text = export(http, "croissant", dataset=train.node.name)
    described = json.loads(text)
    fields = [field["name"] for field in described["recordSet"][0]["field"]]
    assert not any("region" in name or "protected" in name for name in fields)  # it is a protected column
    assert set(fields) == {"row_id", "text", "label", "source"}
    digest = described["distribution"][0]["sha256"]
    (tmp_path / "croissant.json").write_bytes(text)
    (tmp_path / f"{digest}.parquet").write_bytes(lent.artifacts.get(f"sha256:{digest}"))
    dataset = mlc.Dataset(jsonld=str(tmp_path / "croissant.json"))
    assert dataset.metadata.ctx.issues.errors == set()
    records = list(dataset.records("examples"))
    assert len(records) == train.node.facts["rows"]
    assert described["rai:dataCollectionTimeframe"][0] == world.START.isoformat()
    unknown = http.send("GET", f"{MODEL}/exports/croissant", params={"dataset": "nobody's"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "node_not_found")
    missing = http.send("GET", f"{MODEL}/exports/croissant")
    assert (missing.status_code, missing.json()["field"]) == (422, "dataset")


def test_a_bom_passes_the_strict_validator_and_its_model_card_is_whole(lent: Site, http: Http) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with lent.database.write() as db:
        declare(lent, db, world.NAME, "base_model", None, GIVEN, "tester")
    text = export(http, "mlbom", version="v2")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None
    assert export(http, "mlbom") == text  # the champion, and the same bytes
    found = json.loads(text)
    top, *others = found["components"]
    assert (top["type"], top["name"], top["version"]) == ("machine-learning-model", world.NAME, "v2")
    assert {"modelParameters", "quantitativeAnalysis", "considerations", "properties"} <= set(top["modelCard"])
    reached = top["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    evaluation = _run(lent).evaluation
    assert evaluation is not None
    own = [e for e in evaluation["evaluations"] if e["model"] == "challenger"]
    assert [(m["type"], m["slice"], m["value"]) for m in reached] == [
        (e["name"], e["rows"], str(e["value"])) for e in own
    ]
    references = {one["ref"] for one in top["modelCard"]["modelParameters"]["datasets"]}
    assert references == {c["bom-ref"] for c in others if c["type"] == "data"}
    base = next(c for c in others if c["type"] == "machine-learning-model")
    assert base["licenses"] == [{"expression": "Apache-2.0", "acknowledgement": "declared"}]
    assert "licenses" not in top  # of the events nobody has declared one
    assert "north" not in text.decode()  # a group of the protected column


def test_a_base_version_and_a_model_that_is_never_retrained_are_exported_too(lent: Site, http: Http) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    base = export(http, "mlbom", version="v1")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(base.decode()) is None
    document = lending.spec("lightgbm").document | {"model": "plain", "retrain": None}
    assert http.send("PUT", "/api/v1/models/plain", json=document).status_code == 201
    for form in ("prov", "prov-n", "openlineage"):
        assert http.send("GET", f"/api/v1/models/plain/exports/{form}").status_code == 200
    assert http.send("GET", "/api/v1/models/plain/exports/mlbom").json()["code"] == "no_champion"
    assert http.send("GET", "/api/v1/models/plain/lineage").json()["nodes"][0]["kind"] == "events"
    assert http.send("GET", "/models/plain/lineage").status_code == 200


def test_an_adapter_is_verified_by_the_project_that_defines_the_signature(http: Http, tmp_path: Path) -> None:
    pytest.importorskip("OpenSSL", reason="model-signing does not import without pyOpenSSL, which it does not ask for")
    folder = tmp_path / "adapter"
    answer = http.send("GET", f"{MODEL}/versions/v2/adapter")
    with tarfile.open(fileobj=BytesIO(answer.content)) as archive:
        archive.extractall(folder, filter="data")
    (tmp_path / "model.sig").write_bytes(export(http, "model-signature", version="v2"))
    (tmp_path / "model.pub").write_bytes(export(http, "model-signature-key"))
    check = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature",
             str(tmp_path / "model.sig"), "--public_key", str(tmp_path / "model.pub")]  # fmt: skip
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    changed = sorted(p for p in folder.rglob("*") if p.is_file())[0]
    changed.write_bytes(changed.read_bytes() + b" ")
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0


def test_a_signature_covers_names_and_bytes_of_every_file(lent: Site, http: Http, tmp_path: Path) -> None:
    import base64

    key = signing_key(lent.settings.home_dir)
    assert (lent.settings.home_dir / "keys" / "model-signing.pem").stat().st_mode & 0o777 == 0o600
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    (tmp_path / "a.txt").write_bytes(b"2")
    bundle = json.loads(signature_of(tmp_path, "m", key))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert [r["name"] for r in statement["predicate"]["resources"]] == ["a/x", "a.txt"]  # by parts of the path
    assert statement["subject"][0]["name"] == "m"
    refused = http.send("GET", f"{MODEL}/exports/model-signature", params={"version": "v1"})
    assert refused.status_code == 404
