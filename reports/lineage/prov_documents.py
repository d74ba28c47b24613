"""The graph as W3C PROV: entities, the activities that made them, and the agents behind these; PROV-JSON and PROV-N."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from reports.lineage.graph import Graph

if TYPE_CHECKING:
    from prov.identifier import Namespace
    from prov.model import ProvDocument

NAMESPACE: Final = "urn:assay:"
ACTIVITIES: Final = {"run": "training", "dataset": "curation", "report": "reporting", "explanation": "explaining"}
FACTS: Final = ("digest", "rows", "role", "adapter", "base_digest", "config", "code", "stage", "base_model", "standing")
DECLARED: Final = ("licence", "consent", "source", "synthetic_share", "human_share", "expires")


def prov_document(graph: Graph) -> "ProvDocument":
    """A PROV document of the whole graph, or of the part that is given.

    A run is an activity. Every other node is an entity, with the activity that made it where a step of Assay did.
    """
    from prov.constants import PROV
    from prov.model import ProvDocument

    document = ProvDocument()
    own = document.add_namespace("assay", NAMESPACE)
    service = document.agent("assay:service", {"prov:type": PROV["SoftwareAgent"], "prov:label": "Assay"})
    for digest, shown in graph.shown.items():
        told = shown.document
        facts = {f"assay:{n}": told[n] for n in FACTS if isinstance(told.get(n), str | int | float)}
        facts |= {f"assay:{n}": told["declared"][n] for n in DECLARED if (told["declared"] or {}).get(n) is not None}
        facts |= {"prov:label": f"{told['kind']} {told['name']}", "prov:type": own[told["kind"]]}
        if shown.entry is not None:
            facts["assay:ledger_entry"] = shown.entry.index
        at = _time(told.get("at"))
        if told["kind"] == "run":
            document.activity(_id(digest), at, _time(told.get("ended_at")), facts)
            document.wasAssociatedWith(_id(digest), service)
            continue
        document.entity(_id(digest), facts)
        if told["kind"] in ACTIVITIES and not told.get("source"):
            made = f"assay:{ACTIVITIES[told['kind']]}-{digest.removeprefix('sha256:')}"
            document.activity(made, at, at, {"prov:type": own[ACTIVITIES[told["kind"]]]})
            document.wasAssociatedWith(made, service)
            document.wasGeneratedBy(_id(digest), made, at)
        if told.get("promoted_at"):
            promotion = f"assay:promotion-{digest.removeprefix('sha256:')}"
            when = _time(told["promoted_at"])
            document.activity(promotion, when, when, {"prov:type": own["promotion"]})
            document.used(promotion, _id(digest), when)
            document.wasAssociatedWith(promotion, service)
    _relate(document, graph, own)
    return document


def _relate(document: "ProvDocument", graph: Graph, own: "Namespace") -> None:
    kinds = {digest: shown.node.kind for digest, shown in graph.shown.items()}
    for source, made, role, _ in graph.edges():
        if source not in kinds:
            continue
        facts = {"prov:role": own[role]}
        if kinds[made] == "run":
            document.used(_id(made), _id(source), None, other_attributes=facts)
        elif kinds[source] == "run" and role == "made_by":
            document.wasGeneratedBy(_id(made), _id(source), None, other_attributes=facts)
        elif kinds[source] == "run":
            document.wasInfluencedBy(_id(made), _id(source), other_attributes={"prov:type": own[role]})
        else:
            document.wasDerivedFrom(_id(made), _id(source), other_attributes={"prov:type": own[role]})


def _id(digest: str) -> str:
    return f"assay:node-{digest.removeprefix('sha256:')}"


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def prov_json(graph: Graph) -> bytes:
    return str(prov_document(graph).serialize(format="json", indent=1, sort_keys=True)).encode()


def prov_n(graph: Graph) -> bytes:
    return str(prov_document(graph).get_provn()).encode()
