"""Routes of a witness: other logs ask for cosignatures. Their own signature says who they are, so no key is needed."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from api.http.arriving import read_body
from api.http.deps import SiteDep
from core.errors import NotFoundError
from governance.ledger.witness import FOLDER, MAX_BODY, WitnessAnswer, add_checkpoint, witness_signer, witness_vkey
from monitor.site import Site

router = APIRouter(prefix="/api/v1/witness", tags=["ledger"])


# What c2sp.org/tlog-witness says each of them means.
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {400: {}, 403: {}, 404: {}, 409: {}, 413: {}, 422: {}}


@router.post("/add-checkpoint", response_class=PlainTextResponse, responses=_REFUSED)
async def add(request: Request, site: SiteDep) -> Response:
    """Cosign a checkpoint of a configured log that extends the last one (c2sp.org/tlog-witness)."""
    _require_witness(site)
    body = await read_body(request, 1)
    answer = await run_in_threadpool(_answer, site, body)
    return Response(answer.text, answer.status, media_type=answer.media_type)


def _require_witness(site: Site) -> None:
    if not site.settings.ledger.witness_of:
        raise NotFoundError("this installation is no witness; ASSAY_LEDGER__WITNESS_OF names the logs it is one of")


def _answer(site: Site, body: bytes) -> WitnessAnswer:
    if len(body) > MAX_BODY:
        return WitnessAnswer(400, f"more than {MAX_BODY} bytes\n")
    home, ledger = site.settings.home_dir, site.settings.ledger
    signer = witness_signer(home, ledger.origin)
    return add_checkpoint(body, logs=ledger.witness_of, folder=home / FOLDER, signer=signer, now=site.clock.now())


@router.get("/key", response_class=PlainTextResponse, responses={404: {}})
def key(site: SiteDep) -> PlainTextResponse:
    """The public key of this installation as a witness."""
    _require_witness(site)
    return PlainTextResponse(witness_vkey(witness_signer(site.settings.home_dir, site.settings.ledger.origin)) + "\n")
