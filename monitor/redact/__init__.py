"""Personal data and secrets in texts, replaced before anything is stored; one file per kind."""

from collections.abc import Mapping
from typing import Final

from monitor.redact import card, email, iban, phone, secret
from monitor.redact.base import Pattern

# In the order they are looked for: what is a card or an account is not a telephone number.
PATTERNS: Final[Mapping[str, Pattern]] = {
    p.name: p for p in (secret.PATTERN, email.PATTERN, iban.PATTERN, card.PATTERN, phone.PATTERN)
}
