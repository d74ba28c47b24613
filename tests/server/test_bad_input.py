"""Bad input beside the rows: specs that contradict themselves, base models that cannot be used, what is not there."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import SPEC, Api, event

NO_ID = "00000000-0000-4000-8000-000000000000"
PATH = "/api/v1/models/contradicts"
# The spec is refused before any of it reaches the database.
SQLITE = pytest.mark.parametrize("installation", ["sqlite"], indirect=True)


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The spec with values set at dotted paths; a value of None takes the key out."""
    document: dict[str, Any] = copy.deepcopy(SPEC) | {"model": "contradicts"}
    for path, value in changes:
        *above, last = path.split(".")
        part = document
        for name in above:
            part = part.setdefault(name, {})
        if value is None:
            part.pop(last)
        else:
            part[last] = value
    return document


def policy(**more: Any) -> dict[str, Any]:
    recipe = {"base_model": "/models/base", "method": "qlora", "task": "sequence_classification"}
    return {"when": ["drift"], "recipe": recipe, **more}


CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("two predictions", changed(("columns.customer.role", "prediction")), "only one may have it"),
    ("number as a class", changed(("columns.intent.type", "number")), "category or boolean"),
    ("built-in name", changed(("columns.ts", {"role": "input", "type": "number"})), "built-in field"),
    ("no columns", changed(("columns", {})), "columns"),
    ("unknown role", changed(("columns.text.role", "target")), "columns.text.role"),
    ("unknown type", changed(("columns.text.type", "int")), "columns.text.type"),
    ("two baselines", changed(("baseline", {"rows": "first 10", "dataset": "d"})), "exactly one of"),
    ("baseline of nothing", changed(("baseline", {"rows": "first 0"})), "first 0"),
    ("window of no length", changed(("monitors.windows", ["0d"])), "0d"),
    ("too small a window", changed(("monitors.windows", {"rows": 5})), "rows"),
    ("budget over time without time", changed(("monitors.windows", {"rows": 500})), "alpha"),
    ("budget in other words", changed(("monitors.false_alarms", "hardly ever")), "hardly ever"),
    ("alpha of one", changed(("monitors.false_alarms", {"alpha": 1})), "alpha"),
    ("drift of an unknown column", changed(("monitors.drift", {"columns": ["colour"]})), "colour"),
    ("floor of an unknown column", changed(("monitors.drift", {"floors": {"colour": "0.1 std"}})), "colour"),
    (
        "kpi without outcome",
        changed(("columns.intent_true", None), ("monitors.kpi", [{"metric": "accuracy"}])),
        "role outcome",
    ),
    ("kpi nobody computes", changed(("monitors.kpi", [{"metric": "happiness"}])), "happiness"),
    ("kpi of another task", changed(("monitors.kpi", [{"metric": "mae"}])), "known for task classification"),
    (
        "fairness by what is not protected",
        changed(("monitors.fairness", [{"metric": "equalized_odds_difference", "by": ["urgent"]}])),
        "role protected",
    ),
    ("fairness by nothing", changed(("monitors.fairness", [{"metric": "equalized_odds_difference", "by": []}])), "by"),
    ("retrain on a kpi without limit", changed(("retrain", policy(when=["kpi"]))), "min or max"),
    ("retrain on absent fairness", changed(("retrain", policy(when=["fairness"]))), "monitors.fairness is empty"),
    ("retrain on nothing", changed(("retrain", policy(when=[]))), "when"),
    ("retrain without base model", changed(("retrain", policy(recipe={"method": "qlora"}))), "base_model: is missing"),
    ("cron of four fields", changed(("retrain", policy(when=[{"cron": "0 3 * *"}]))), "five fields"),
    (
        "base model outside the envelope",
        changed(("retrain", policy(envelope={"base_models": ["/models/other"]}))),
        "not among retrain.envelope.base_models",
    ),
    ("high risk without approval", changed(("risk", "high"), ("retrain", policy())), "approval"),
    ("retrain without labels", changed(("columns.intent_true", None), ("retrain", policy())), "role outcome"),
]


@SQLITE
@pytest.mark.parametrize(("document", "word"), [c[1:] for c in CONTRADICTIONS], ids=[c[0] for c in CONTRADICTIONS])
def test_a_spec_that_contradicts_itself_names_the_field_and_leaves_nothing_behind(
    api: Api, document: dict[str, Any], word: str
) -> None:
    answer = api.send("PUT", PATH, json=document)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.text
    assert all({"field", "reason"} <= problem.keys() for problem in answer.json()["problems"])
    assert api.send("GET", PATH).status_code == 404


@SQLITE
@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"model: [", "application/yaml", 422, "invalid_spec"),
        (b"- a\n- b", "application/yaml", 422, "invalid_spec"),
        (b"", "application/json", 422, "invalid_spec"),
        (b"!!python/object/apply:os.system ['true']", "application/yaml", 422, "invalid_spec"),
        (b"a: &a [*a]", "application/yaml", 422, "invalid_spec"),
        (b"[" * 5000, "application/json", 422, "invalid_spec"),
        (b"\xff\xfe\xfd", "application/yaml", 422, "invalid_spec"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
    ],
    ids=["half yaml", "list", "empty", "tag", "anchor", "deep", "bytes", "type"],
)
def test_what_is_no_spec_is_refused(api: Api, body: bytes, kind: str, status: int, code: str) -> None:
    answer = api.send("PUT", PATH, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


@pytest.mark.parametrize("model", ["UPPER", "a b", "-x", "x" * 64, "ü", "a%2Fb"])
def test_a_name_no_model_may_have_is_refused(api: Api, model: str) -> None:
    answer = api.send("PUT", f"/api/v1/models/{model}", json=SPEC | {"model": model})
    assert answer.status_code in (404, 409, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def _classifier(folder: Path, *, weights: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / weights).write_bytes(b"\x80\x04weights")
    return folder


def test_a_base_model_that_is_missing_or_pickled_is_refused_when_the_spec_is_put(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    unusable = {
        tmp_path / "nowhere": "",
        _classifier(tmp_path / "pickled", weights="pytorch_model.bin"): "safetensors",
        file: "",
    }
    for folder, word in unusable.items():
        recipe = policy()["recipe"] | {"base_model": str(folder)}
        answer = api.send("PUT", PATH, json=changed(("retrain", policy(recipe=recipe))))
        assert (answer.status_code, answer.json()["code"]) == (422, "base_model_unusable"), answer.text
        assert str(folder) in answer.json()["detail"]
        assert word in answer.json()["detail"]
        assert api.send("GET", PATH).status_code == 404, "the spec must not stay when its base model is refused"


@SQLITE
@pytest.mark.parametrize(
    "recipe",
    [{"method": "magic"}, {"epochs": -1}, {"colour": "red"}, {"task": "causal_lm", "lora_rank": 0}],
    ids=lambda recipe: next(iter(recipe)),
)
def test_a_recipe_that_cannot_be_read_names_its_field(api: Api, recipe: dict[str, Any]) -> None:
    document = changed(("retrain", policy(recipe=policy()["recipe"] | recipe)))
    answer = api.send("PUT", PATH, json=document)
    assert answer.status_code == 422, answer.text
    assert "retrain.recipe." in answer.text
    assert api.send("GET", PATH).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "outcomes", [{"event_id": "e", "intent_true": "a"}]),
        ("POST", "runs", {"reason": "try"}),
        ("POST", "reports", {"kind": "audit", "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}),
        ("GET", "events/e", None),
        ("GET", "windows", None),
        ("GET", "alerts", None),
        ("GET", "champion", None),
    ],
)
def test_a_model_that_does_not_exist_is_named_on_every_path(api: Api, method: str, path: str, body: Any) -> None:
    answer = api.send(method, f"/api/v1/models/nobody/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found"), answer.text
    assert "nobody" in answer.json()["detail"]


@pytest.mark.parametrize("action", ["approve", "reject", "promote", "rollback"])
def test_a_run_that_does_not_exist_is_named(api: Api, action: str) -> None:
    answer = api.send("POST", f"/api/v1/runs/{NO_ID}/{action}", json={"reason": "try"})
    assert answer.status_code == 404, answer.text
    assert NO_ID in answer.json()["detail"]


def test_a_run_without_a_policy_and_a_report_of_no_time_are_refused(api: Api) -> None:
    answer = api.send("POST", "/api/v1/models/support-intents/runs", json={"reason": "try"})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_retrain_policy")
    period = {"kind": "audit", "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    answer = api.send("POST", "/api/v1/models/support-intents/reports", json=period)
    assert answer.status_code == 422, answer.text
    assert "from" in answer.text
    answer = api.send("POST", "/api/v1/models/support-intents/reports", json=period | {"kind": "poem"})
    assert answer.status_code == 422, answer.text
    assert "poem" in answer.text


def test_a_revoked_key_is_refused_on_every_kind_of_request(api: Api) -> None:
    made = api.send("POST", "/api/v1/keys", json={"name": "leaked", "role": "admin"}).json()
    assert api.send("GET", "/api/v1/models", key=made["key"]).status_code == 200
    assert api.send("DELETE", f"/api/v1/keys/{made['prefix']}").status_code == 200
    again = api.send("DELETE", f"/api/v1/keys/{made['prefix']}")
    assert again.status_code in (200, 409), again.text
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/api/v1/models/support-intents/events", [event("stolen")]),
        ("PUT", "/api/v1/models/support-intents", SPEC),
        ("POST", "/api/v1/keys", {"name": "x", "role": "admin"}),
        ("GET", "/api/v1/ledger/entries", None),
        ("GET", "/metrics", None),
    ]
    for method, path, body in requests:
        answer = api.send(method, path, key=made["key"], json=body)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), path
    assert api.send("GET", "/api/v1/models/support-intents/events/stolen").status_code == 404
