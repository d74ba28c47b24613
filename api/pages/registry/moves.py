"""What people do with versions: promote one again, set it beside the champion, retire it, roll back."""

import math
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from api.http.auth import requires
from api.http.deps import Db, SiteDep
from api.pages.forms import Form, reason_of
from api.pages.render import PageRoute
from core.errors import InvalidError
from governance.access.roles import Caller, Permission

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Mover = Annotated[Caller, requires(Permission.VERSION_MOVE)]
PLACES = ("champion", "challenger", "shadow", "canary")
BESIDE = ("challenger", "shadow", "retired")


@router.post("/models/{name}/versions/{version}/promote")
def promote_version(caller: Mover, name: str, version: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    """A run judges the version on present rows; then it gets the stage that is asked for."""
    from retrain.runs.again import promote_again  # here and below: what only those who move a version need

    stage = _one_of("stage", form.get("stage") or "champion", PLACES)
    run = promote_again(
        site, db, name, version, caller, reason_of(form), to_stage=stage, share=_share(form.get("share", ""))
    )
    return RedirectResponse(f"/runs/{run.id}", 303)


@router.post("/models/{name}/versions/{version}/stage")
def move_version(caller: Mover, name: str, version: str, site: SiteDep, db: Db, form: Form) -> RedirectResponse:
    from retrain.runs.promote import set_stage

    stage = _one_of("stage", form.get("stage", ""), BESIDE)
    set_stage(site, db, name, version, caller, stage, reason_of(form))
    return RedirectResponse(f"/models/{name}/versions/{version}", 303)


@router.post("/models/{name}/rollback")
def roll_back_champion(caller: Mover, name: str, site: SiteDep, form: Form) -> RedirectResponse:
    """Put the champion before back. The answers of the one that leaves are listed on its page."""
    from retrain.runs.promote import roll_back_listed

    _, made = roll_back_listed(site, name, caller, reason_of(form))
    return RedirectResponse(f"/models/{name}/versions/{made.version}", 303)


def _one_of(field: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InvalidError(f"{field} is {value[:60]!r}; choose from {', '.join(known)}", field=field, value=value[:60])
    return value


def _share(text: str) -> float | None:
    """Per cent of the requests of a canary, as a share."""
    text = text.strip().removesuffix("%").strip()
    if not text:
        return None
    try:
        share = float(text) / 100
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise InvalidError(
            f"share is {text[:60]!r}; write per cent of the requests, above 0 and below 100, such as 5", field="share",
            value=text[:60],
        )  # fmt: skip
    return share
