"""Why somebody decided something, as the ledger keeps it."""

from typing import Final

from core.errors import InvalidError

MAX_REASON: Final = 1000  # characters


def read_reason(text: str) -> str:
    """The reason with its spaces tidied. Raises InvalidError: it is empty or too long."""
    kept = " ".join(text.split())
    if not kept or len(kept) > MAX_REASON:
        raise InvalidError(
            f"reason has {len(kept)} characters; say why in 1 to {MAX_REASON}", field="reason", value=kept[:60]
        )
    return kept
