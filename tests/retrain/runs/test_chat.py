"""A base with a chat template learns from conversations, and is judged by the answers that it writes."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.clock import ManualClock
from core.jobs import RunJob
from core.settings_train import TrainSettings
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.spec.parse import parse_spec
from retrain import jobs, store
from retrain.errors import EnvelopeError
from retrain.registry.versions import checked_plan
from tests.databases import SQLITE_FIRST
from tests.retrain import world

pytestmark = SQLITE_FIRST
TEMPLATE = (
    "{% for m in messages %}{{ bos_token + m['role'] + ' ' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ bos_token + 'assistant ' }}{% endif %}"
)
PAIRS = {"task": "dpo", "preference": {"other": "other", "outcome": "better"}}
OLD, NEW = "we will look at your {}", "please bring your {}"


@pytest.fixture
def small(site: Site) -> Site:
    train = TrainSettings(device="cpu", threads=1, attempts=1)
    return replace(site, settings=site.settings.model_copy(update={"train": train}))


@pytest.fixture
def chat_base(tiny_causal_base: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    shutil.copytree(tiny_causal_base, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def spec(base: Path | str, recipe: dict[str, Any] | None = None, **envelope: Any) -> ModelSpec:
    document = world.answers_spec(base).document
    retrain = document["retrain"]
    changed = retrain["recipe"] | {"epochs": 12, "learning_rate": 0.02, "max_length": 96} | (recipe or {})
    limits = {"compared_by": ["exact_match", "chrf_mean"], "kpi_floor": {"exact_match": 0.5}, "max_cut_share": 0.05}
    return parse_spec(
        document | {"retrain": retrain | {"recipe": changed, "envelope": retrain["envelope"] | limits | envelope}}
    )


def events(count: int, first: int, malformed: int = 0) -> pl.DataFrame:
    """Conversations of three turns; the last one is answered. The first `malformed` end with an answer."""
    frame = world.answers(count, first, NEW)
    said = [
        [
            {"role": "user", "content": "hello"}, {"role": "assistant", "content": "where is your device now"},
            {"role": "user", "content": text}, *([{"role": "assistant", "content": "yes"}] if i < malformed else []),
        ]
        for i, text in enumerate(frame["asked"])
    ]  # fmt: skip
    return frame.with_columns(pl.Series("asked", [json.dumps(one) for one in said]))


@pytest.mark.slow  # tests/retrain/train/test_chat.py trains one, test_run.py takes a language model through the gates
def test_a_chat_model_learns_from_conversations_and_is_judged_by_its_answers(
    small: Site, chat_base: Path, clock: ManualClock
) -> None:
    declared = spec(chat_base)
    world.declare(small, declared)
    for first in (0, 250):
        frame = events(250, first, malformed=2)
        clock.move_to(world.START + timedelta(minutes=first + 250))
        small.events.append_events(declared, frame.drop("given"), now=clock.now())
        small.events.append_outcomes(declared, frame.select("event_id", "given"), now=clock.now())
    world.baseline_ends(small, 250)
    run_id = world.start(small)
    jobs.run(small, RunJob(run_id=run_id))
    run = world.read(small, run_id)
    with small.database.read() as db:
        gates = {g.gate: g for g in store.gates(db, run_id)}
    said = {name: (g.verdict, g.reason) for name, g in gates.items()}
    assert (run.state, run.error) == ("promoted", None), said
    assert run.metrics is not None
    assert run.evaluation is not None
    assert run.metrics["format"]["ends_with"] == "</s>"
    dropped = {name: counts.get("dropped_for", {}) for name, counts in run.metrics["counts"].items()}
    assert sum(sum(found.values()) for found in dropped.values()) == 4, dropped
    assert {reason for found in dropped.values() for reason in found} == {
        "the last turn is the assistant's, so no answer is due"
    }
    named = {(e["model"], e["rows"], e["name"]): e["value"] for e in run.evaluation["evaluations"]}
    assert named["champion", "new", "exact_match"] == 0
    assert named["challenger", "new", "exact_match"] > 0.5
    assert named["challenger", "new", "chrf_mean"] > named["champion", "new", "chrf_mean"]
    exact, chrf = gates["no_regression"].reason.split("; chrf_mean (0 to 1)")
    assert exact.startswith("exact_match (0 to 1)"), said
    assert "is ruled out" in chrf, said
    assert gates["no_regression"].evidence["challenger_values"]["exact_match"] == pytest.approx(
        named["challenger", "new", "exact_match"]
    )
    kept = pl.read_parquet(small.artifacts.path(run.evaluation["predictions"]))
    assert all(dtype != pl.String for name, dtype in kept.schema.items() if name not in ("rows", "row_id"))


@pytest.mark.parametrize(
    ("recipe", "envelope", "words"),
    [
        ({}, {"kpi_floor": {"bleu": 0.5}}, "choose from exact_match, chrf_mean, or leave kpi_floor out"),
        ({}, {"kpi_floor": {"chrf_mean": 101}}, "write points of 100"),
        ({}, {"kpi_floor": {"exact_match": 50}}, "write a share"),
        (PAIRS, {"kpi_floor": {}}, "compared_by names"),
    ],
)  # fmt: skip
def test_metrics_that_no_gate_computes_are_refused_at_apply(
    small: Site, recipe: dict[str, Any], envelope: dict[str, Any], words: str
) -> None:
    declared = spec("./none", recipe, **envelope)
    columns = {"other": {"role": "input", "type": "text"}, "better": {"role": "outcome", "type": "category"}}
    declared = parse_spec(declared.document | {"columns": declared.document["columns"] | columns})
    with pytest.raises(EnvelopeError, match=words):
        checked_plan(small, declared)


def test_an_unknown_metric_is_refused_with_the_choices(small: Site) -> None:
    with pytest.raises(Exception, match="`log_probability`, `exact_match`, `chrf_mean`") as refused:
        spec("./none", compared_by=["rouge"])
    assert "retrain.envelope.compared_by" in str(refused.value)
