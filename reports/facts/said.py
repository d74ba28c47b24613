"""What people wrote, as a report may print it: in one line, without what looks like personal data, and not for ever."""

import hmac
from collections.abc import Sequence
from typing import Final

from reports.paths import without_paths

RULES: Final = ("email", "phone", "card", "iban", "secret")
LONGEST: Final = 300  # characters


class SaidBy:
    """Prints what people wrote. The key makes the markers that replace finds (`monitor.redact`)."""

    def __init__(self, subject_key: bytes) -> None:
        self._key = subject_key

    def words(self, texts: Sequence[str | None]) -> list[str]:
        """Each text in a line of at most `LONGEST` characters, as `whole` has it."""
        return [_short(text) for text in self.whole(texts)]

    def whole(self, texts: Sequence[str | None]) -> list[str]:
        """Each text with addresses, telephone, card and account numbers and secrets replaced by markers."""
        import polars as pl

        from monitor.redact.columns import redacted_texts, redaction_key

        kept = [" ".join((text or "").split()) for text in texts]
        done = redacted_texts(pl.Series(kept, dtype=pl.String), RULES, redaction_key(self._key))
        return [str(without_paths(text or "")) for text in done]

    def digest(self, text: str) -> str:
        """What the ledger holds in place of a text that may name people (`monitor.alerts.actions`)."""
        return hmac.digest(self._key, text.encode(), "sha256").hex()


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " […]"
