"""The public keys that `--key` names."""

from collections.abc import Sequence
from pathlib import Path

from core.errors import InvalidError


def trusted_keys(given: Sequence[str]) -> list[str] | None:
    """The keys of `--key`: each a line itself, or a file with one on each line. None if it was not given.

    Raises:
        InvalidError: a file has no key or is no text. To go on without one would trust whoever signed.
    """
    return [line for one in given for line in _lines(one)] or None


def _lines(one: str) -> list[str]:
    try:
        content = Path(one).read_text("utf-8-sig") if Path(one).is_file() else one
    except UnicodeDecodeError as error:
        raise InvalidError(f"--key {one} is no text; give a file with one public key a line", field="--key") from error
    except OSError as error:
        raise InvalidError(f"--key {one[:100]} cannot be read: {error.strerror}", field="--key") from error
    if not (lines := content.split()):
        raise InvalidError(
            f"--key {one or repr(one)} has no key; write one with `assay ledger key` where the service runs",
            field="--key", value=one,
        )  # fmt: skip
    return lines
