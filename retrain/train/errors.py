"""What stops a training process, each with the field, the value and the fix."""

from pathlib import Path

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


class TimeLimitError(InvalidError):
    code = "time_limit"
