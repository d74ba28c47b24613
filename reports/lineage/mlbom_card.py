"""The model card of a CycloneDX BOM, and the properties that the OWASP AIBOM registry asks for, as recorded."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from governance.policy.tiers import asked
from monitor.spec.model import ModelSpec
from reports.lineage.graph import Graph

Files = Mapping[str, tuple[str, int]]
CARD: Final = "genai:aibom:modelcard:"
DISTRIBUTION: Final = "owasp:aibom:distribution:"
# Property of the registry by the key of a base's config.json, the first that is there.
ARCHITECTURE: Final[Mapping[str, Sequence[str]]] = {
    "vocabSize": ("vocab_size",), "tokenizerClass": ("tokenizer_class",),
    "contextLength": ("max_position_embeddings", "n_positions"),
    "embeddingLength": ("hidden_size", "n_embd", "d_model"),
    "blockCount": ("num_hidden_layers", "n_layer", "num_layers"),
    "attentionHeadCount": ("num_attention_heads", "n_head"), "attentionHeadCountKV": ("num_key_value_heads",),
    "feedForwardLength": ("intermediate_size", "n_inner"), "ropeDimensionCount": ("head_dim",),
}  # fmt: skip
METHOD: Final = {"lora": "LoRA", "qlora": "QLoRA"}


def model_card(
    card: Mapping[str, Any], spec: ModelSpec, graph: Graph, base: Mapping[str, Any], files: Files
) -> dict[str, Any]:
    """modelCard of the component; only what was recorded or declared is said."""
    recipe, energy = card["recipe"] or {}, card["energy"]
    considerations: dict[str, Any] = {
        "users": [spec.owner], "useCases": [spec.purpose],
        "technicalLimitations": list(card["limits"]) or ["none recorded"],
        "ethicalConsiderations": [{"name": n, "mitigationStrategy": how} for n, how in _ethics(card, spec, graph)],
        "fairnessAssessments": [
            {"groupAtRisk": f"groups of {check['by']}", "harms": f"{check['metric']} {check['challenger']}",
             "mitigationStrategy": f"gate fairness, limit {'not set' if check['limit'] is None else check['limit']}"}
            for judged in card["judged"] for check in judged["fairness"]
        ],
    }  # fmt: skip
    if energy["kwh"] is not None:
        considerations["environmentalConsiderations"] = {"energyConsumptions": [_energy(energy)]}
    shape = [{"name": CARD + name, "value": value} for name, value in _shape(base, card)]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"}, "task": spec.task,
            "architectureFamily": str(base.get("model_type") or recipe.get("estimator") or "unknown"),
            "modelArchitecture": str((base.get("architectures") or [recipe.get("estimator") or "unknown"])[0]),
            "datasets": [{"ref": f"data:{o.node.digest}"} for o in graph.shown.values() if o.node.kind == "dataset"],
            "inputs": [{"format": f"{name}: {spec.columns[name].type}"} for name in spec.with_role("input")],
            "outputs": [{"format": f"{name}: {spec.columns[name].type}"} for name in spec.with_role("prediction")],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(card))},
        "considerations": considerations,
        "properties": [
            *shape,
            {"name": CARD + "hyperparameter", "value": json.dumps(recipe, sort_keys=True)},
            {"name": CARD + "modelCardExplainability", "value": _explained(recipe)},
            {"name": DISTRIBUTION + "modelFileSize", "value": str(sum(size for _, size in files.values()))},
            {"name": DISTRIBUTION + "runtimeRequirement", "value": "python"},
        ],
    }  # fmt: skip


def _shape(base: Mapping[str, Any], card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, keys in ARCHITECTURE.items():
        if (value := next((base[key] for key in keys if base.get(key) is not None), None)) is not None:
            yield name, str(value)
    quantised = (card["training"] or {}).get("quantisation") or {}
    if quantised.get("type"):
        yield "quantizationFileType", str(quantised["type"])
        libraries = (card["training"] or {}).get("libraries") or {}
        yield "quantizationVersion", f"bitsandbytes {libraries.get('bitsandbytes') or 'unknown'}"


def _energy(energy: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "activity": "fine-tuning",
        "energyProviders": [{
            "organization": {"name": "not recorded"}, "energySource": "unknown",
            "energyProvided": {"value": energy["kwh"], "unit": "kWh"},
        }],
        "activityEnergyCost": {"value": energy["kwh"], "unit": "kWh"},
    }  # fmt: skip
    if energy.get("co2e_kg") is not None:
        found["co2CostEquivalent"] = {"value": energy["co2e_kg"] / 1000, "unit": "tCO2eq"}
    return found


def _metrics(card: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the version reached on held-out rows, with its interval."""
    for judged in card["judged"][-1:]:
        for line in judged["evaluation"]:
            if line["model"] != "challenger" or line["value"] is None:  # the other side is the champion of then
                continue
            found: dict[str, Any] = {"type": str(line["name"]), "value": str(line["value"]), "slice": str(line["rows"])}
            if line["low"] is not None and line["high"] is not None:
                found["confidenceInterval"] = {"lowerBound": str(line["low"]), "upperBound": str(line["high"])}
            yield found


def _ethics(card: Mapping[str, Any], spec: ModelSpec, graph: Graph) -> Iterator[tuple[str, str]]:
    yield f"EU AI Act risk tier: {spec.risk}", f"approvals of a promotion: {_approvals(spec)}"
    biases = {str(b) for o in graph.shown.values() for b in (o.declared or {}).get("known_biases") or ()}
    for bias in sorted(biases):
        yield f"known bias of its data: {bias}", _fairness(spec)
    if card["data"] and any("sources" in d and d["sources"] for d in card["data"]):
        yield "learned from what people sent", "erasure of a person's rows names the versions that learned from them"


def _fairness(spec: ModelSpec) -> str:
    if not spec.with_role("protected"):
        return "fairness is not judged: no protected column is declared"
    return "gate fairness compares groups before every promotion" if spec.retrain else "fairness is monitored"


def _approvals(spec: ModelSpec) -> str:
    if spec.retrain is None:
        return "none"
    tier = asked(spec.risk, spec.retrain.approval)
    return f"{tier.promotion or 'none'}" + (", and a validator's attestation" if tier.attestation else "")


def _explained(recipe: Mapping[str, Any]) -> str:
    if recipe.get("task") == "sequence_classification":
        return "word attributions (SHAP) of each decision: GET /api/v1/models/MODEL/events/EVENT/explanation"
    return f"none for recipes of task {recipe.get('task')}"


def properties_of(card: Mapping[str, Any], spec: ModelSpec, files: Files) -> list[dict[str, str]]:
    """Properties of the BOM's metadata by the registry's names."""
    energy, recipe, training = card["energy"], card["recipe"] or {}, card["training"] or {}
    gates = [f"{g['gate']} {g['verdict']}" for judged in card["judged"][-1:] for g in judged["gates"]]
    limits = [(k.metric, k.min, k.max) for k in spec.monitors.kpi if k.min is not None or k.max is not None]
    floors = {} if spec.retrain is None else dict(spec.retrain.envelope.kpi_floor)
    facts = {
        "primaryPurpose": spec.purpose, "suppliedBy": spec.owner, "domain": spec.purpose,
        "standardCompliance": f"EU AI Act: declared risk tier {spec.risk}; no conformity assessment is recorded here",
        "autonomyType": f"{spec.task}; promotions approved by people: {_approvals(spec)}",
        "typeOfModel": str(recipe.get("estimator") or f"{METHOD.get(str(recipe.get('method')), 'base')} adapter"),
        "hyperparameter": json.dumps(recipe, sort_keys=True),
        "limitation": "; ".join(card["limits"]) or "none recorded",
        "safetyRiskAssessment": f"risk tier {spec.risk}; gates: {', '.join(gates) or 'none judged'}",
        "modelExplainability": _explained(recipe),
        "informationAboutTraining": (
            f"{training.get('rows_train', 'no')} rows, {training.get('train_seconds', 0)} s on "
            f"{training.get('device') or 'this machine'}"
        ),
        "informationAboutApplication": spec.purpose,
        "metric": ", ".join(f"{m['type']} {m['value']}" for m in _metrics(card)) or "none measured",
        "metricDecisionThreshold": json.dumps({"kpi": limits, "floors": floors}, sort_keys=True),
        "modelDataPreprocessing": "; ".join(
            f"{why}: {rows} rows left out" for d in card["data"] for why, rows in d["left_out"].items()
        ) or "none recorded",
        "useSensitivePersonalInformation": "yes" if spec.with_role("protected", "subject") else "none declared",
        "downloadLocation": f"/api/v1/models/{card['model']}/versions/{card['version']}/adapter",
    }  # fmt: skip
    if energy["kwh"] is not None:
        facts |= {"energyConsumption": f"{energy['kwh']} kWh of training, estimated",
                  "energyQuantity": str(energy["kwh"]), "energyUnit": "kWh"}  # fmt: skip
    if files:
        facts["files"] = json.dumps({name: sha for name, (sha, _) in files.items()}, sort_keys=True)
    return [{"name": name, "value": value} for name, value in facts.items() if value]
