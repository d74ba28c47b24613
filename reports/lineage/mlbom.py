"""The machine-learning bill of materials of one version, CycloneDX 1.6: model, base, data, software, with a model card.

It is written as a document. The project's own library has no class for a model card and drops it when it reads one.
Groups of protected columns are not named. Names of properties are those of the OWASP AIBOM registry.
"""

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy.orm import Session

from core.canonical import canonical, digest
from core.errors import AppError
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import model as model_named
from reports.lineage.graph import Graph, Shown, graph_of
from reports.lineage.mlbom_card import model_card, properties_of
from retrain import store
from retrain.provenance.base_files import base_config
from retrain.registry.card import card_of

SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
MEDIA_TYPE: Final = "application/vnd.cyclonedx+json; version=1.6"
NO_PERSON: Final = ("not_personal",)


def mlbom_of(site: Site, db: Session, model_name: str, version: str) -> dict[str, Any]:
    """
    Raises:
        ModelNotFoundError, VersionNotFoundError.
    """
    model = model_named(db, model_name)
    row = store.version(db, model.id, version, model_name)
    run = store.run(db, row.run_id) if row.run_id is not None else None
    spec = store.spec_at(db, model.id, model.revision if run is None else run.spec_revision)
    card = card_of(site, db, model_name, version)
    graph = graph_of(db, model).around(f"version:{version}", up=True, down=False)
    base, files = base_config(site, db, row.base_digest), _files(site, row.adapter)
    top = _component(model_name, version, card, spec, graph, base, files)
    parts = [*_bases(graph, base), *_data(graph, spec), *_software(card)]
    bom = {
        "$schema": SCHEMA, "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "timestamp": card["created_at"], "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "assay", "version": _code(graph)}]},
            "manufacturer": {"name": spec.owner},
            "component": {
                "type": "machine-learning-model", "bom-ref": "model", "name": model_name, "version": version,
                "externalReferences": top["externalReferences"],
            },
            "properties": properties_of(card, spec, files),
        },
        "externalReferences": top["externalReferences"], "components": [top, *parts],
        "dependencies": [
            {"ref": top["bom-ref"], "dependsOn": sorted({p["bom-ref"] for p in parts})},
            *({"ref": p["bom-ref"], "dependsOn": []} for p in parts),
        ],
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(bom, default=str))
    # Equal content has one serial number, so that a BOM of the same version is the same file.
    serial = uuid5(NAMESPACE_URL, digest(plain))
    return {"$schema": SCHEMA, "bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}",
            **plain}  # fmt: skip


def mlbom_bytes(site: Site, db: Session, model_name: str, version: str) -> bytes:
    return canonical(mlbom_of(site, db, model_name, version))


def _component(
    model: str, version: str, card: Mapping[str, Any], spec: ModelSpec, graph: Graph, base: Mapping[str, Any],
    files: Mapping[str, tuple[str, int]],
) -> dict[str, Any]:  # fmt: skip
    path = f"/api/v1/models/{model}/versions/{version}"
    references = [
        {"type": "documentation", "url": f"{path}/card?format=md", "comment": "model card"},
        {"type": "website", "url": f"/models/{model}", "comment": "page of the model"},
        {"type": "model-card", "url": f"{path}/card"},
    ]
    if card["adapter"] is not None:
        references += [
            {"type": "distribution", "url": f"{path}/adapter", "comment": "adapter as one tar file"},
            {"type": "digital-signature", "url": f"/api/v1/models/{model}/exports/model-signature?version={version}"},
        ]
    found: dict[str, Any] = {
        "type": "machine-learning-model", "bom-ref": f"model:{model}@{version}", "name": model, "version": version,
        "description": f"{spec.purpose} ({spec.task})", "supplier": {"name": spec.owner},
        "purl": f"pkg:generic/{model}@{version}", "externalReferences": references,
        "modelCard": model_card(card, spec, graph, base, files),
        "properties": [{"name": "assay:adapter", "value": str(card["adapter"])},
                       {"name": "assay:base_digest", "value": card["base_model"]["digest"]}],
    }  # fmt: skip
    weights = [sha for name, (sha, _) in sorted(files.items()) if name.endswith((".safetensors", ".ubj", ".txt"))]
    if len(weights) == 1:
        found["hashes"] = [{"alg": "SHA-256", "content": weights[0]}]
    if (terms := _terms(graph)) is not None:
        found["licenses"] = [{"expression": terms, "acknowledgement": "concluded"}]
    return found


def _terms(graph: Graph) -> str | None:
    """The licences of all that the version was made from, together; None while one of them is not declared."""
    told = [
        (one.declared or {}).get("licence") for one in graph.shown.values()
        if one.node.kind == "base_model" or (one.node.kind == "dataset" and one.node.facts["role"] == "train")
    ]  # fmt: skip
    if not told or None in told:
        return None
    each = sorted({str(one) for one in told})
    return " AND ".join(f"({one})" if " OR " in one and len(each) > 1 else one for one in each)


def _bases(graph: Graph, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    found, architecture = [], str((config.get("architectures") or ["unknown"])[0])
    for one in graph.shown.values():
        if one.node.kind != "base_model":
            continue
        told = one.declared or {}
        part: dict[str, Any] = {
            "type": "machine-learning-model", "bom-ref": f"base:{one.node.digest}", "name": one.node.name,
            "version": str(one.node.facts["digest"]), "supplier": {"name": told.get("collector") or "not declared"},
            "properties": _declared_properties(one),
            "modelCard": {"modelParameters": {"modelArchitecture": architecture}},
        }  # fmt: skip
        if told.get("licence"):
            part["licenses"] = [{"expression": told["licence"], "acknowledgement": "declared"}]
        if told.get("url"):
            part["externalReferences"] = [{"type": "distribution", "url": told["url"]}]
        found.append(part)
    return found


def _data(graph: Graph, spec: ModelSpec) -> list[dict[str, Any]]:
    """A component of type data for each set, as the model card's datasets refer to them."""
    found = []
    for one in graph.shown.values():
        if one.node.kind != "dataset":
            continue
        told, document = one.declared or {}, one.document
        personal = told.get("consent") not in NO_PERSON
        part: dict[str, Any] = {
            "type": "data", "bom-ref": f"data:{one.node.digest}", "name": one.node.name,
            "version": str(one.node.facts["digest"]),
            "hashes": [{"alg": "SHA-256", "content": str(one.node.facts["digest"]).removeprefix("sha256:")}],
            "data": [{
                "type": "dataset", "name": one.node.name, "classification": "personal" if personal else "not personal",
                "description": f"{document['role']}, {document['rows']} rows",
                "sensitiveData": ["texts of persons"] if personal else [],
                "governance": {"owners": [{"organization": {"name": told.get("collector") or spec.owner}}]},
                "contents": {"properties": [{"name": "rows", "value": str(document["rows"])}]},
            }],
            "properties": _declared_properties(one),
        }  # fmt: skip
        if told.get("licence"):
            part["licenses"] = [{"expression": told["licence"], "acknowledgement": "declared"}]
        found.append(part)
    return found


def _declared_properties(one: Shown) -> list[dict[str, str]]:
    told = one.declared or {}
    names = (
        "source",
        "consent",
        "collected",
        "known_biases",
        "processing",
        "synthetic_share",
        "human_share",
        "expires",
    )
    listed = [("node", one.node.digest), ("ledger_entry", one.entry.index if one.entry else None),
              *((name, told.get(name)) for name in names)]  # fmt: skip
    return [
        {"name": f"assay:{name}", "value": value if isinstance(value, str) else json.dumps(value, sort_keys=True)}
        for name, value in listed if value is not None
    ]  # fmt: skip


def _software(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Libraries that trained, as the run recorded them."""
    training = card["training"] or {}
    found: Mapping[str, Any] = training.get("libraries") or training.get("versions") or {}
    return [
        {"type": "library", "bom-ref": f"pkg:pypi/{name}@{at}", "name": name, "version": str(at),
         "purl": f"pkg:pypi/{name}@{at}"}
        for name, at in sorted(found.items()) if name != "python" and at
    ]  # fmt: skip


def _code(graph: Graph) -> str:
    return next((str(o.node.facts["code"]) for o in graph.shown.values() if o.node.kind == "run"), "unreleased")


def _files(site: Site, adapter: str | None) -> dict[str, tuple[str, int]]:
    """Plain digest and size in bytes of each file of an adapter; nothing where they are gone."""
    if adapter is None:
        return {}
    from core.artifacts import file_digest

    try:
        folder = site.artifacts.path(adapter)
    except AppError:
        return {}
    return {
        p.relative_to(folder).as_posix(): (file_digest(p).removeprefix("sha256:"), p.stat().st_size)
        for p in sorted(folder.rglob("*")) if p.is_file()
    }  # fmt: skip
