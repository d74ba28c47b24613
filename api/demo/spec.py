"""The spec the demo declares: small, with every part of the loop in it."""

from typing import Any

from api.demo.plan import DemoPlan

MODEL = "support-intents"


def demo_spec(
    plan: DemoPlan, *, base_model: str, kpi_min: float, min_outcomes: int, recipe: dict[str, Any]
) -> dict[str, Any]:
    return {
        "model": MODEL,
        "task": "classification",
        "owner": "ml-support@example.com",
        "purpose": "route customer messages to the right queue",
        "risk": "limited",
        "columns": {
            "text": {"role": "input", "type": "text"},
            "channel": {"role": "segment", "type": "category"},
            "intent": {"role": "prediction", "type": "category"},
            "confidence": {"role": "score", "type": "number"},
            "age_band": {"role": "protected", "type": "category"},
            "customer": {"role": "subject", "type": "string"},
            "latency_ms": {"role": "measure", "type": "number", "unit": "ms"},
            "intent_true": {"role": "outcome", "type": "category"},
        },
        "provenance": {
            "licence": "LicenseRef-demo", "consent": "contract", "collector": "the demo",
            "known_biases": ["arrival order, channels and age bands are simulated"],
        },
        "baseline": {"rows": f"first {plan.baseline_rows}"},
        "monitors": {
            "windows": {"rows": plan.window_rows},
            "false_alarms": {"alpha": 0.002},
            "kpi": [{"metric": "accuracy", "min": kpi_min}, {"metric": "f1_macro"}],
            "fairness": [
                {"metric": "equalized_odds_difference", "by": ["age_band"], "max": 0.2, "min_group": 30},
                {"metric": "demographic_parity_difference", "by": ["age_band"], "min_group": 30},
            ],
        },
        "retrain": {
            "when": ["drift", "kpi", {"cron": "0 3 * * 0"}],
            "cooldown": "24h",
            "min_outcomes": min_outcomes,
            "recipe": {"base_model": base_model, "method": "qlora", "task": "sequence_classification", **recipe},
            "envelope": {
                "max_rows": 20_000, "max_gpu_hours": 0.5, "base_models": [base_model],
                "kpi_floor": {"accuracy": 0.6}, "max_forgetting": 0.04, "max_regression": 0.0,
            },
            "gates": ["no_regression", "fairness", "forgetting", "integrity"],
            "approval": "none",
        },
    }  # fmt: skip


def demo_declarations() -> list[dict[str, Any]]:
    """What is known of the set that v1 was trained on, and of v1 itself."""
    told = {
        "source": "messages of the demo", "collected": {"from": "2026-01-01", "to": "2026-01-01"},
        "consent": "not_personal", "collector": "the demo", "known_biases": ["none known"], "synthetic_share": 0.0,
    }  # fmt: skip
    trained = {"step": "trained on v1-training from random weights", "code": "retrain.train.demo_base"}
    return [
        {"kind": "dataset", "name": "v1-training", "licence": "LicenseRef-demo", "processing": [], **told},
        {"kind": "base_model", "licence": "Apache-2.0", "processing": [trained], **told},
    ]
