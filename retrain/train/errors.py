"""What stops a training process, each with the field, the value and the fix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import ConflictError, IntegrityFailureError, InvalidError, NotFoundError


class ConfigFileError(InvalidError):
    code = "config_invalid"


class WeightsNotFoundError(NotFoundError):
    code = "weights_not_found"

    def __init__(self, field: str, value: Path, fix: str) -> None:
        super().__init__(f"{field}: {value} {fix}", field=field, value=str(value))


class UnsafeWeightsError(InvalidError):
    code = "weights_unsafe"

    def __init__(self, field: str, value: Path, found: list[str]) -> None:
        super().__init__(
            f"{field}: {value} holds only pickled weights ({', '.join(found)}), which can run code when loaded; "
            "convert them to safetensors (model.save_pretrained(DIR, safe_serialization=True)) and point here again",
            field=field,
            value=str(value),
            found=found,
        )


class DataDigestError(IntegrityFailureError):
    code = "data_digest_mismatch"

    def __init__(self, field: str, path: Path, declared: str, found: str) -> None:
        super().__init__(
            f"{field}.sha256: {path} has digest {found}, the config declares {declared}; "
            "the file changed after it was curated: curate again, or restore it",
            field=field,
            path=str(path),
            declared=declared,
            found=found,
        )


class DataError(InvalidError):
    code = "data_invalid"


class AdapterMismatchError(InvalidError):
    code = "adapter_mismatch"


class ResumeConflictError(ConflictError):
    code = "resume_conflict"


class NonFiniteLossError(InvalidError):
    code = "loss_not_finite"


class CardsError(InvalidError):
    code = "cards_invalid"


class MemoryLimitError(InvalidError):
    code = "out_of_memory"


class LimitError(InvalidError):
    """A run is past a limit of its envelope: it stops and waits for approval."""

    def __init__(self, message: str, *, limit: str, declared: Any, measured: Any, more: Sequence["LimitError"] = ()):
        """`limit` is a key of the envelope; `more` are other limits that were found passed at the same time."""
        passed = {"limit": limit, "declared": declared, "measured": measured, "reason": message}
        super().__init__("; ".join([message, *(one.message for one in more)]), passed=[passed])
        for one in more:
            self.facts["passed"] += one.facts["passed"]


class TimeLimitError(LimitError):
    code = "time_limit"


class EnergyLimitError(LimitError):
    code = "energy_limit"


class CutRowsError(LimitError):
    code = "rows_cut"


class ParametersLimitError(LimitError):
    code = "parameters_limit"
