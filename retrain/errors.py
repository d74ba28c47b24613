"""What a retrain can refuse, each with the field, the value and the fix."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from core.errors import BusyError, ConflictError, InsufficientDataError, InvalidError, NotFoundError


class RunNotFoundError(NotFoundError):
    code = "run_not_found"

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"run {run_id} does not exist", run_id=str(run_id))


class VersionNotFoundError(NotFoundError):
    code = "version_not_found"

    def __init__(self, model: str, version: str) -> None:
        super().__init__(f"model {model} has no version {version}", model=model, version=version)


class NoChampionError(NotFoundError):
    code = "no_champion"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"model {model} has no champion: its spec has no retrain section; add one with a recipe and apply it",
            model=model,
        )


class NoPolicyError(ConflictError):
    code = "no_retrain_policy"

    def __init__(self, model: str) -> None:
        super().__init__(f"the spec of {model} has no retrain section; add one and apply it", model=model)


class RequestReusedError(ConflictError):
    """An idempotency key stands for one request, whose answer it gets for ever."""

    code = "idempotency_key_reused"

    def __init__(self, key: str, decision_id: UUID) -> None:
        super().__init__(
            f"Idempotency-Key {key} came with another request before, which got decision {decision_id}; send a new key",
            field="Idempotency-Key",
            value=key,
            decision=str(decision_id),
        )


class RunStateError(ConflictError):
    code = "run_state"

    def __init__(self, run_id: UUID, state: str, wanted: str) -> None:
        super().__init__(
            f"run {run_id} is {state}; this needs a run that is {wanted}",
            run_id=str(run_id),
            state=state,
            wanted=wanted,
        )


class ApprovalError(ConflictError):
    code = "approval_refused"


class MaterialError(InvalidError):
    """What a declaration is about is no material of the model."""

    code = "material"


class MaterialRefusedError(ConflictError):
    """A run, or a promotion, is blocked by licence, consent or expiry of what it is made from."""

    code = "material_refused"

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(f"licence or consent forbids it: {'; '.join(reasons)}", reasons=list(reasons))


class NotGatedError(ConflictError):
    """A version that has not passed every gate of its spec is never promoted."""

    code = "not_gated"

    def __init__(self, version: str, missing: Sequence[str]) -> None:
        super().__init__(
            f"version {version} may not be promoted: {'; '.join(missing)}", version=version, missing=list(missing)
        )


class RulesChangedError(ConflictError):
    code = "rules_changed"

    def __init__(self, run_id: UUID, revision: int) -> None:
        super().__init__(
            f"the gates of run {run_id} were judged under other rules than those of revision {revision}; they are "
            "judged again before anything is promoted",
            run_id=str(run_id),
            revision=revision,
        )


class ChampionMovedError(ConflictError):
    code = "champion_moved"

    def __init__(self, run_id: UUID, evaluated: str, found: str) -> None:
        super().__init__(
            f"run {run_id} was compared with champion {evaluated}, but the champion is now {found}; "
            "reject it, then start a new run or promote the version by its name, which judges it again",
            run_id=str(run_id),
            evaluated=evaluated,
            found=found,
        )


class NotChampionError(ConflictError):
    code = "not_champion"

    def __init__(self, champion: str, wanted: str) -> None:
        super().__init__(f"the champion is {champion}, not {wanted}; nothing was rolled back", champion=champion)


class VersionStageError(ConflictError):
    code = "version_stage"

    def __init__(self, version: str, stage: str, message: str) -> None:
        super().__init__(message, version=version, stage=stage)


class OpenRunError(ConflictError):
    code = "open_run"

    def __init__(self, model: str, run_id: UUID, state: str) -> None:
        super().__init__(
            f"run {run_id} of {model} is {state}; wait for its end, or reject it where it waits for approval",
            model=model,
            run_id=str(run_id),
            state=state,
        )


class ShareError(InvalidError):
    code = "invalid_share"

    def __init__(self, message: str, share: float | None) -> None:
        super().__init__(message, field="traffic_share", value=share)


class NoEarlierVersionError(ConflictError):
    code = "no_earlier_version"

    def __init__(self, model: str, version: str) -> None:
        super().__init__(f"model {model} has no champion before {version} to go back to", model=model, version=version)


class EnvelopeError(InvalidError):
    """A recipe or a run leaves the limits people fixed beforehand."""

    code = "outside_envelope"

    def __init__(self, breaches: Sequence[Any]) -> None:
        """`breaches` are `retrain.limits.LimitCheck`s."""
        words = [str(one) for one in breaches]
        self.checks: list[dict[str, Any]] = [one.record() for one in breaches]
        super().__init__("outside the change envelope: " + "; ".join(words), breaches=words)


class RecipeError(InvalidError):
    code = "invalid_recipe"


class BaseModelError(InvalidError):
    code = "base_model_unusable"


class DatasetError(InvalidError):
    code = "invalid_dataset"


class TooFewRowsError(InsufficientDataError):
    code = "too_few_rows"


class RunLockedError(BusyError):
    code = "run_locked"

    def __init__(self, run_id: UUID) -> None:
        super().__init__(f"run {run_id} is held by another worker", retry_after_s=5, run_id=str(run_id))


class LeaseLostError(BusyError):
    code = "lease_lost"

    def __init__(self, run_id: UUID) -> None:
        words = f"this worker lost its lease of run {run_id}: it stopped its process, and another may go on"
        super().__init__(words, retry_after_s=5, run_id=str(run_id))


class RunClosedError(ConflictError):
    code = "run_closed"

    def __init__(self, run_id: UUID, state: str) -> None:
        super().__init__(f"run {run_id} is {state}; its process was stopped", run_id=str(run_id), state=state)


class TrainerError(InvalidError):
    """The training or evaluation process ended with a reason that trying again would not remove."""

    code = "trainer_failed"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}", reason=code)
