"""The fields of the OWASP AIBOM registry, with category, weight, tier and the place that the registry looks at.

Taken from the field registry of the OWASP AIBOM Generator (GenAI-Security-Project/aibom-generator, November 2026).
`component` in a place is the first component of the BOM. Left out are ten fields that do not apply: seven of African
data protection laws, for models deployed there, and three of GGUF files, which no adapter is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

CATEGORIES: Final[Mapping[str, float]] = {
    "required_fields": 20, "metadata": 20, "component_basic": 20, "component_model_card": 30, "external_references": 10,
}  # fmt: skip
PENALTIES: Final = ((3, 0.8), (1, 0.9))  # factor where more critical fields than this are missing


@dataclass(frozen=True, slots=True)
class RegistryField:
    name: str
    category: str
    weight: float
    tier: str
    places: tuple[str, ...]


def _fields(category: str, *listed: tuple[str, float, str, str]) -> tuple[RegistryField, ...]:
    return tuple(RegistryField(n, category, w, tier, tuple(place.split(" | "))) for n, w, tier, place in listed)


def _metadata(name: str) -> str:
    return f"metadata.properties[name={name}].value"


_CARD = "component.modelCard"
FIELDS: Final[tuple[RegistryField, ...]] = (
    *_fields(
        "required_fields",
        ("bomFormat", 4, "critical", "bomFormat"), ("specVersion", 4, "critical", "specVersion"),
        ("serialNumber", 4, "critical", "serialNumber"), ("version", 4, "critical", "version"),
    ),
    *_fields(
        "metadata",
        ("primaryPurpose", 4, "critical", f"{_CARD}.modelParameters.task"),
        ("suppliedBy", 4, "critical", "component.supplier.name"),
        ("standardCompliance", 1, "supplementary", _metadata("standardCompliance")),
        ("domain", 1, "supplementary", _metadata("domain")),
        ("autonomyType", 1, "supplementary", _metadata("autonomyType")),
    ),
    *_fields(
        "component_basic",
        ("name", 4, "critical", "component.name"), ("type", 4, "critical", "component.type"),
        ("component_version", 4, "critical", "component.version"), ("purl", 3, "important", "component.purl"),
        ("description", 3, "important", "component.description"), ("licenses", 3, "important", "component.licenses"),
        ("external_references", 1, "supplementary", "component.externalReferences"),
    ),
    *_fields(
        "component_model_card",
        ("datasets", 3, "important", f"{_CARD}.modelParameters.datasets"),
        ("ethicalConsiderations", 2, "important", f"{_CARD}.considerations.ethicalConsiderations"),
        ("energyConsumption", 2, "important", _metadata("energyConsumption")),
        ("hyperparameter", 2, "important", f"{_CARD}.properties[name=genai:aibom:modelcard:hyperparameter].value"),
        ("technicalLimitations", 2, "important", f"{_CARD}.considerations.technicalLimitations"),
        ("safetyRiskAssessment", 2, "important", _metadata("safetyRiskAssessment")),
        ("intendedUse", 2, "important", f"{_CARD}.considerations.useCases"),
        ("typeOfModel", 2, "important", f"{_CARD}.modelParameters.modelArchitecture"),
        ("modelExplainability", 1, "supplementary",
         f"{_CARD}.properties[name=genai:aibom:modelcard:modelCardExplainability].value"),
        ("energyQuantity", 1, "supplementary", _metadata("energyQuantity")),
        ("energyUnit", 1, "supplementary", _metadata("energyUnit")),
        ("informationAboutTraining", 1, "supplementary", _metadata("informationAboutTraining")),
        ("informationAboutApplication", 1, "supplementary", _metadata("informationAboutApplication")),
        ("metric", 1, "supplementary", _metadata("metric")),
        ("metricDecisionThreshold", 1, "supplementary", _metadata("metricDecisionThreshold")),
        ("modelDataPreprocessing", 1, "supplementary", _metadata("modelDataPreprocessing")),
        ("useSensitivePersonalInformation", 1, "supplementary", _metadata("useSensitivePersonalInformation")),
        *((name, 1, "supplementary", f"{_CARD}.properties[name=genai:aibom:modelcard:{key}].value") for name, key in (
            ("vocab_size", "vocabSize"), ("tokenizer_class", "tokenizerClass"), ("context_length", "contextLength"),
            ("embedding_length", "embeddingLength"), ("block_count", "blockCount"),
            ("attention_head_count", "attentionHeadCount"), ("attention_head_count_kv", "attentionHeadCountKV"),
            ("feed_forward_length", "feedForwardLength"),
        )),
        ("model_file_size", 1, "supplementary",
         f"{_CARD}.properties[name=owasp:aibom:distribution:modelFileSize].value"),
        ("runtime_requirement", 1, "supplementary",
         f"{_CARD}.properties[name=owasp:aibom:distribution:runtimeRequirement].value"),
    ),
    *_fields(
        "external_references",
        ("downloadLocation", 3, "important",
         "component.externalReferences[type=distribution].url | component.externalReferences[type=website].url"),
        ("vcs", 4, "supplementary", "component.externalReferences[type=vcs].url"),
        ("website", 4, "supplementary", "component.externalReferences[type=website].url"),
        ("paper", 2, "supplementary", "component.externalReferences[type=documentation].url"),
    ),
)  # fmt: skip


def completeness(bom: Mapping[str, Any]) -> tuple[float, list[str]]:
    """(score of 100, missing fields) of a BOM: a category counts by the weights of its fields that are there."""
    missing = [field for field in FIELDS if not any(_there(bom, place) for place in field.places)]
    score = 0.0
    for category, points in CATEGORIES.items():
        whole = sum(f.weight for f in FIELDS if f.category == category)
        score += points * (1 - sum(f.weight for f in missing if f.category == category) / whole)
    critical = sum(field.tier == "critical" for field in missing)
    score *= next((factor for more, factor in PENALTIES if critical > more), 1.0)
    return score, [field.name for field in missing]


def _there(bom: Mapping[str, Any], place: str) -> bool:
    here: Any = bom
    for part in re.findall(r"[^.\[]+(?:\[[^\]]*\])?", place):
        name, _, chosen = part.partition("[")
        if name == "component":
            here = (bom.get("components") or [{}])[0]
            continue
        here = here.get(name) if isinstance(here, Mapping) else None
        if chosen and here is not None:
            key, _, value = chosen.rstrip("]").partition("=")
            here = next((one for one in here if one.get(key) == value), None)
    return here not in (None, "", [], {})
