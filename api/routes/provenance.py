"""Routes for provenance: declare data and base models; what things were made from, and what became of an event."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from api.http.auth import requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep, StorableText
from governance.access.roles import Caller, Permission
from monitor import store as monitored

router = APIRouter(prefix="/api/v1/models/{model}", tags=["provenance"])
Reader = Annotated[Caller, requires(Permission.READ)]


class DeclarationIn(In):
    """A declaration, and what it is about. The fields of the declaration itself are read with their own errors."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["dataset", "base_model"]
    name: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="of the registered dataset; the base model as a spec or version names it, by default the recipe's",
    )


class DeclarationOut(Out):
    id: UUID
    kind: str
    name: str
    content: str = Field(description="digest of the rows as registered, or of the base's files: it holds for these")
    digest: str = Field(description="of the declaration, as the ledger has it")
    entry: int = Field(description="index of its entry in the ledger")
    document: dict[str, Any]
    created_at: datetime
    created_by: str


@router.post("/provenance", status_code=201)
def declare(
    caller: Annotated[Caller, requires(Permission.DATASET_WRITE)], model: str, body: DeclarationIn, site: SiteDep,
    db: Db,
) -> DeclarationOut:  # fmt: skip
    """Declare source, licence, consent and the rest of a registered dataset or a base model; the newest counts.

    Fields: source, licence (SPDX), collected {from, to}, consent, collector, processing, known_biases,
    synthetic_share; expires and url where they are known.
    """
    from retrain.provenance.declarations import declare as record

    return DeclarationOut.of(record(site, db, model, body.kind, body.name, body.model_extra, caller.name))


@router.get("/provenance")
def declared(_: Reader, model: str, db: ReadDb) -> Page[DeclarationOut]:
    """Declarations, newest first."""
    from retrain.provenance.declarations import declarations

    return Page[DeclarationOut].of(declarations(db, monitored.model(db, model).id))


@router.get("/lineage")
def lineage(
    _: Reader, model: str, db: ReadDb,
    of: Annotated[
        StorableText | None,
        Query(description="a node: version:v2, run:ID, dataset:NAME, report:ID, base_model:NAME, or its digest"),
    ] = None,
    direction: Annotated[
        Literal["sources", "results", "both"],
        Query(description="sources: what it was made from; results: what was made from it"),
    ] = "sources",
) -> dict[str, Any]:  # fmt: skip
    """What things of a model were made from, as a graph; the whole without `of`."""
    from reports.lineage.graph import graph_of

    graph = graph_of(db, monitored.model(db, model))
    if of is not None:
        graph = graph.around(of, up=direction != "results", down=direction != "sources")
    return graph.document


@router.get("/lineage/event")
def event(
    _: Annotated[Caller, requires(Permission.EVENTS_READ)], model: str, site: SiteDep, db: ReadDb,
    event_id: Annotated[StorableText | None, Query(min_length=1, max_length=200)] = None,
    digest: Annotated[str | None, Query(description="keyed digest of the id, from an earlier answer")] = None,
) -> dict[str, Any]:  # fmt: skip
    """What an event ended up in: windows, datasets, runs, versions, reports, explanations; also once it is erased."""
    from reports.lineage.events import ended_up_in

    return ended_up_in(site, db, monitored.model(db, model), event_id=event_id, digest=digest)


@router.get("/exports/{form}", response_class=Response)
def export(
    _: Reader, model: str,
    form: Literal["openlineage", "prov", "prov-n", "croissant", "mlbom", "model-signature", "model-signature-key"],
    site: SiteDep, db: ReadDb,
    version: Annotated[
        StorableText | None,
        Query(max_length=64, description="of mlbom and model-signature: by default the champion; of openlineage and "
              "prov: only what this version was made from"),
    ] = None,
    dataset: Annotated[StorableText | None, Query(max_length=100, description="of croissant: name or digest")] = None,
) -> Response:  # fmt: skip
    """The provenance of a model in another tool's form; no row and no protected column is in any of them."""
    from reports.lineage.exports import EXPORTS, Asked

    made = EXPORTS[form]
    content = made.make(Asked(site, db, model, version, dataset))
    name = "-".join(filter(None, (model, version, form)))
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{made.suffix}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=made.media_type, headers=headers)
