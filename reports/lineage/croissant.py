"""A dataset as MLCommons Croissant 1.0 with its responsible-AI fields: what it holds, not its rows.

Columns of the roles protected and subject are not described: whoever gets an export must not learn of them from it.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl
from sqlalchemy.orm import Session

from core.errors import NotFoundError
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import model as model_named
from reports.lineage.graph import Shown, graph_of
from retrain import store
from retrain.curate.dedupe import SUBJECT
from retrain.train.mitigation.weights import PROTECTED

CONTEXT: Final[dict[str, Any]] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
    "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
FILE: Final = "rows"
RECORDS: Final = "examples"


def croissant_of(site: Site, db: Session, model_name: str, name: str) -> bytes:
    """The description of a dataset, by its name or digest.

    Raises:
        ModelNotFoundError, NodeNotFoundError: there is no such dataset.
        NotFoundError: its file is gone.
    """
    model = model_named(db, model_name)
    graph = graph_of(db, model)
    shown = graph.shown[graph.find(f"dataset:{name}")]
    row = next(d for d in store.datasets(db, model.id) if str(d.id) == shown.node.facts["id"])
    spec = store.spec_at(db, model.id, (row.provenance.get("spec") or {}).get("revision", model.revision))
    document = _document(shown, spec, model_name, row.digest, _fields(site.artifacts.path(row.digest), spec))
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _document(shown: Shown, spec: ModelSpec, model: str, digest: str, fields: list[tuple[str, str]]) -> dict[str, Any]:
    told, facts = shown.declared or {}, shown.document
    sha = digest.removeprefix("sha256:")
    collected = told.get("collected") or {}
    steps = [f"{p['step']} ({p['code']})" if p.get("code") else str(p["step"]) for p in told.get("processing") or ()]
    optional = {
        "license": told.get("licence"),
        "rai:dataCollection": told.get("source") or None,
        "rai:dataCollectionTimeframe": [str(collected[n]) for n in ("from", "to") if collected.get(n)] or None,
        "rai:dataBiases": told.get("known_biases") or None,
        "rai:dataPreprocessingProtocol": steps or None,
        "rai:dataUseCases": [f"{facts['role']} of {model}: {spec.purpose}"],
        "rai:dataSocialImpact": f"EU AI Act risk tier {spec.risk}",
        "rai:personalSensitiveInformation": _personal(told.get("consent")),
        "rai:dataReleaseMaintenancePlan": f"may be used until {told['expires']}" if told.get("expires") else None,
        "rai:dataAnnotationProtocol": "outcomes that arrived for the model's events" if facts.get("run") else None,
        "rai:dataLimitations": (
            f"{told['synthetic_share']:.0%} synthetic, {told['human_share']:.0%} human"
            if told.get("synthetic_share") is not None else None
        ),
    }  # fmt: skip
    creator = {"@type": "Organization", "name": told.get("collector") or spec.owner}
    return {
        "@context": CONTEXT, "@type": "sc:Dataset", "name": _name(f"{model}-{shown.node.name}"),
        "description": f"{facts['role']} rows of {model}: {spec.purpose}",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "url": told.get("url") or f"urn:assay:dataset:{sha}", "version": "1.0.0",
        "datePublished": datetime.fromisoformat(facts["at"]).astimezone(UTC).date().isoformat(),
        "creator": creator, "citeAs": f"{creator['name']}: {shown.node.name}, {shown.node.facts['digest']}",
        **{name: value for name, value in optional.items() if value is not None},
        "distribution": [{
            "@type": "cr:FileObject", "@id": FILE, "name": FILE, "contentUrl": f"{sha}.parquet",
            "encodingFormat": "application/x-parquet", "sha256": sha,
        }],
        "recordSet": [{
            "@type": "cr:RecordSet", "@id": RECORDS, "name": RECORDS,
            "description": f"{facts['rows_now']} rows; columns about protected groups and persons are left out",
            "field": [
                {"@type": "cr:Field", "@id": f"{RECORDS}/{name}", "name": name, "description": name, "dataType": kind,
                 "source": {"fileObject": {"@id": FILE}, "extract": {"column": name}}}
                for name, kind in fields
            ],
        }],
    }  # fmt: skip


def _name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def _personal(consent: str | None) -> list[str] | None:
    if consent is None:
        return None
    return ["none"] if consent == "not_personal" else [f"personal data, processed on the basis of {consent}"]


def _fields(path: Path, spec: ModelSpec) -> list[tuple[str, str]]:
    """(column, Croissant type) of the columns that may be told, in the file's order.

    Raises:
        NotFoundError: it is gone.
    """
    try:
        schema = pl.read_parquet_schema(path)
    except OSError as error:
        raise NotFoundError("the dataset's file is gone from the artifacts; restore it") from error
    hidden = {SUBJECT, *spec.with_role("protected", "subject")}
    kept = [(n, kind) for n, kind in schema.items() if n not in hidden and not n.startswith(PROTECTED)]
    return [(name, _type(kind)) for name, kind in kept]


def _type(kind: pl.DataType) -> str:
    if kind.is_integer():
        return "sc:Integer"
    if kind.is_numeric():
        return "sc:Float"
    if kind == pl.Boolean:
        return "sc:Boolean"
    return "sc:Date" if kind.is_temporal() else "sc:Text"
