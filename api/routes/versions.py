"""Routes for versions of a model: the champion, stages, promotion and rollback, the adapter, the card."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.http.auth import requires
from api.http.deps import Db, In, Out, Page, ReadDb, SiteDep
from core.canonical import canonical, digest
from core.errors import NotFoundError
from governance.access.roles import Caller, Permission
from monitor import store as monitored
from monitor.site import Site
from retrain import store

router = APIRouter(prefix="/api/v1/models/{model}", tags=["versions"])
Reader = Annotated[Caller, requires(Permission.READ)]
Server = Annotated[Caller, requires(Permission.CHAMPION_READ)]
Mover = Annotated[Caller, requires(Permission.VERSION_MOVE)]
Stage = Literal["candidate", "champion", "challenger", "shadow", "canary", "retired", "rejected"]
CARDS: Final = {"json": "application/json", "md": "text/markdown; charset=utf-8"}


class ReasonIn(In):
    reason: str = Field(min_length=1, max_length=1000, description="kept in the ledger; no personal data")


class PromoteIn(ReasonIn):
    stage: Literal["champion", "challenger", "shadow", "canary"] = "champion"
    traffic_share: float | None = Field(None, description="of a canary: share of requests it should get, 0..1")


class StageIn(ReasonIn):
    stage: Literal["challenger", "shadow", "retired"]


class VersionOut(Out):
    version: str
    stage: str
    traffic_share: float | None = Field(description="of a canary: share of requests that serving should send to it")
    base_model: str
    base_digest: str
    adapter: str | None
    labels: list[Any] | None
    run_id: UUID | None = Field(description="the run that trained it; null for the base model")
    trained_on_erased: list[str] = Field(description="erasures of rows in its training data; a retrain is recommended")
    created_at: datetime
    promoted_at: datetime | None
    retired_at: datetime | None


class ChampionOut(Out):
    model: str
    version: str
    base_model: str
    base_digest: str
    adapter_uri: str | None
    adapter_digest: str | None
    adapter_archive: str | None = Field(description="path of the adapter as one tar file; null for the base model")
    artifact: str | None = Field(
        description="what that file holds: `adapter` beside its base, a model that is `whole` or into which an adapter "
        "was `merged` (loaded in place of its base), or a `table` pipeline; null for the base model"
    )
    labels: list[str] | None
    run_id: UUID | None
    promoted_at: datetime
    signature: str


class PredictionOut(Out):
    event_id: str
    ts: datetime
    seq: int


class PredictionsOut(Out):
    version: str
    count: int = Field(description="events that name the version")
    first_at: datetime | None
    last_at: datetime | None
    champion_from: datetime | None
    champion_to: datetime | None
    others: dict[str, int] = Field(description="events of other version names while it was champion")
    export: str = Field(description="path of the event ids, in pages")


class RolledBackOut(VersionOut):
    rolled_back: PredictionsOut = Field(description="the version that was rolled back from, and what it answered")


class StartedRunOut(Out):
    id: UUID
    state: str
    purpose: str
    to_stage: str
    traffic_share: float | None
    champion_version: str
    candidate_version: str | None


@router.get("/champion", responses={304: {}})
def champion(_: Server, model: str, site: SiteDep, db: ReadDb, request: Request) -> Response:
    """The version that serving should load, signed. Ask again with its ETag in If-None-Match: 304 while it stays."""
    from retrain.registry.champion import champion_of

    found = champion_of(site, db, model)
    archive = f"/api/v1/models/{model}/versions/{found.version}/adapter" if found.adapter_digest else None
    body = ChampionOut.model_validate({"adapter_archive": archive, **{n: getattr(found, n) for n in found.__slots__}})
    document = body.model_dump(mode="json")
    # Where the files lie on this machine is no part of what serving loads.
    etag = f'"{digest({k: v for k, v in document.items() if k != "adapter_uri"}).removeprefix("sha256:")}"'
    if _knows(request, etag):
        return Response(status_code=304, headers=_tagged(etag))
    return Response(body.model_dump_json(), media_type="application/json", headers=_tagged(etag))


def _tagged(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, no-cache"}


def _knows(request: Request, etag: str) -> bool:
    """Whether If-None-Match names the present state. Weak comparison, as RFC 9110 (13.1.2) asks."""
    sent = [tag.strip() for line in request.headers.getlist("if-none-match") for tag in line.split(",")]
    return "*" in sent or etag in (tag.removeprefix("W/") for tag in sent)


@router.get("/versions")
def versions(_: Server, model: str, db: ReadDb, stage: Stage | None = None) -> Page[VersionOut]:
    """Versions, oldest first; with `stage`, those that serving should load beside the champion."""
    found = store.versions(db, monitored.model(db, model).id)
    return Page[VersionOut].of([v for v in found if stage is None or v.stage == stage])


@router.get("/versions/{version}")
def read(_: Server, model: str, version: str, db: ReadDb) -> VersionOut:
    return VersionOut.of(store.version(db, monitored.model(db, model).id, version, model))


@router.get("/versions/{version}/adapter", response_class=StreamingResponse, responses={304: {}})
def adapter(_: Server, model: str, version: str, site: SiteDep, db: ReadDb, request: Request) -> Response:
    """The adapter in PEFT's layout as one tar file; ETag and Repr-Digest are the digest of its bytes."""
    import base64

    from retrain.registry.archive import MEDIA_TYPE, archive_of

    row = store.version(db, monitored.model(db, model).id, version, model)
    if row.adapter is None:
        raise NotFoundError(f"version {version} of {model} is its base model; it has no adapter", version=version)
    found = archive_of(site, row.adapter)
    etag = f'"{found.sha256}"'
    if _knows(request, etag):
        return Response(status_code=304, headers=_tagged(etag))
    headers = _tagged(etag) | {
        "Content-Length": str(found.size), "X-Assay-Adapter-Digest": found.adapter,
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(found.sha256)).decode()}:",
        "Content-Disposition": f'attachment; filename="{model}-{version}.tar"',
    }  # fmt: skip
    return StreamingResponse(found.parts(), media_type=MEDIA_TYPE, headers=headers)


@router.get("/versions/{version}/card")
def card(
    _: Reader,
    model: str,
    version: str,
    site: SiteDep,
    db: ReadDb,
    format: Literal["json", "md"] = "json",
) -> Response:
    """The model card of a version: data, recipe, gates, fairness, limits and energy, as recorded."""
    from retrain.registry.card import card_of, markdown

    found = card_of(site, db, model, version)
    content = markdown(found).encode() if format == "md" else canonical(found)
    return Response(content, media_type=CARDS[format])


@router.get("/versions/{version}/predictions")
def predictions(
    _: Annotated[Caller, requires(Permission.EVENTS_READ)], model: str, version: str, site: SiteDep, db: ReadDb,
    cursor: Annotated[int, Query(ge=0, le=2**53, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Page[PredictionOut]:  # fmt: skip
    """Ids of the events that name a version, in order of arrival."""
    from retrain.registry.predictions import page_of

    row = store.version(db, monitored.model(db, model).id, version, model)
    found, after = page_of(site, model, row.version, after=cursor - 1, limit=limit)
    return Page[PredictionOut].of(found, None if after is None else str(after + 1))


@router.post("/versions/{version}/promote", status_code=202)
def promote(caller: Mover, model: str, version: str, body: PromoteIn, site: SiteDep, db: Db) -> StartedRunOut:
    """Promote a version that exists: a run judges it on present rows against the champion, then asks its people."""
    from retrain.runs.again import promote_again

    return StartedRunOut.of(
        promote_again(
            site, db, model, version, caller, body.reason, to_stage=body.stage, share=body.traffic_share
        )
    )  # fmt: skip


@router.post("/versions/{version}/stage")
def move(caller: Mover, model: str, version: str, body: StageIn, site: SiteDep, db: Db) -> VersionOut:
    """Set a version beside the champion, where it answers nobody, or retire it. A canary needs a promotion."""
    from retrain.runs.promote import set_stage

    return VersionOut.of(set_stage(site, db, model, version, caller, body.stage, body.reason))


@router.post("/rollback")
def roll_back_model(caller: Mover, model: str, body: ReasonIn, site: SiteDep) -> RolledBackOut:
    """Restore the champion before the present one, and list the predictions that the present one made."""
    return rolled_back(site, model, caller, body.reason, only=None)


def rolled_back(site: Site, model: str, caller: Caller, reason: str, *, only: str | None) -> RolledBackOut:
    from retrain.runs.promote import roll_back_listed

    restored, made = roll_back_listed(site, model, caller, reason, only=only)
    export = f"/api/v1/models/{model}/versions/{made.version}/predictions"
    listed = PredictionsOut.model_validate({"export": export, **{n: getattr(made, n) for n in made.__slots__}})
    return RolledBackOut.model_validate({**VersionOut.of(restored).model_dump(), "rolled_back": listed})
