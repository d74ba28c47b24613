"""The catalogue of patterns for personal data and secrets, which are replaced before any text is stored."""

from collections.abc import Mapping
from typing import Final

from monitor.redact import card, email, iban, phone, secret
from monitor.redact.base import Pattern

# In the order of the search: the digits of a card or an account must not count as a telephone number.
PATTERNS: Final[Mapping[str, Pattern]] = {
    p.name: p for p in (secret.PATTERN, email.PATTERN, iban.PATTERN, card.PATTERN, phone.PATTERN)
}
