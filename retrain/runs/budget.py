"""The budgets of a model and of the installation: what runs have used, and what the next one may use."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final

from sqlalchemy.orm import Session

from governance.ledger.append import hold_head
from monitor.service import CurrentSpec
from monitor.site import Site
from monitor.spec.envelope import Envelope
from retrain import store
from retrain.tables import Run
from retrain.triggers.budget import BudgetState, RunUse, states

USING: Final = ("queued", "curating", "training", "evaluating")  # states in which a run may still use something


def budgets(site: Site, db: Session, current: CurrentSpec, *, hold: bool = True) -> tuple[BudgetState, ...]:
    """Every budget that holds for a model, as used until now.

    Args:
        hold: nobody else starts a run meanwhile; without it the answer informs.

    Where the installation has one, nobody else counts until the caller's transaction ends: of two schedulers that
    consider two models at once, the second sees the run of the first.
    """
    now = site.clock.now()
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found: list[BudgetState] = []
    if current.spec.retrain is not None:
        own = store.runs_since(db, month, current.model.id)
        found += states("retrain.budget", current.spec.retrain.budget.model_dump(), _uses(own), now)
    whole = site.settings.budget.model_dump()
    if any(most is not None for most in whole.values()):
        if hold:
            hold_head(db)
        found += states("settings.budget", whole, _uses(store.runs_since(db, month)), now)
    return tuple(found)


def _uses(runs: Sequence[Run]) -> list[RunUse]:
    return [
        RunUse(
            str(run.id), run.purpose == "train", run.created_at, (run.used or {}).get("days", {}),
            (run.used or {}).get("granted", {}) if run.state in USING or run.waits_at in USING else {},
        )
        for run in runs
    ]  # fmt: skip


def spent(found: Sequence[BudgetState]) -> tuple[str, ...]:
    """The budgets that leave nothing for another run, in words."""
    return tuple(state.words() for state in found if state.left <= 0 or (".runs_" in state.key and state.left < 1))


def grant(found: Sequence[BudgetState], envelope: Envelope) -> dict[str, Any]:
    """What a run that starts now may use: its envelope, or what is left of the narrowest budget.

    Hours are reserved in full until the run ends; energy too where the envelope limits it, else all that is left.
    """
    made: dict[str, Any] = {}
    limits = (("hours", "gpu_hours", envelope.max_gpu_hours), ("kwh", "kwh", envelope.max_kwh))
    for figure, word, most in limits:
        narrow = min((s for s in found if f".{word}_per_" in s.key), key=lambda s: s.left, default=None)
        if narrow is None:
            continue
        if most is None or narrow.left < most:
            made |= {figure: narrow.left, f"{figure}_by": narrow.key}
        else:
            made |= {figure: most, f"{figure}_by": None}
    return made
