"""Passwords, codes of a second factor and recovery codes: made, checked, and kept so that the table opens nothing.

argon2id (RFC 9106) for passwords; TOTP (RFC 6238) with SHA-1, six digits and 30 s, as every app has it. A TOTP secret
is encrypted under the session key, which is not in the database.
"""

import base64
import hashlib
import hmac
import json
import secrets
import unicodedata
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import InvalidError
from core.text import unfit

if TYPE_CHECKING:
    import argon2

MAX_PASSWORD: Final = 256  # characters
STEP_S: Final = 30
WINDOW: Final = 1  # steps that the clock of a telephone may be off, either way
RECOVERY_CODES: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # without letters that look like digits
_NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$BNuQJBY38dqA63da95/+yg$orJ6QtdbLwjTvEouQ2NGitjXIuMp2wmfgYhhxfvdx7A"


@lru_cache(maxsize=1)
def _hasher() -> "argon2.PasswordHasher":
    import argon2  # loaded where people sign in by password

    return argon2.PasswordHasher()


def hash_password(password: str) -> str:
    return _hasher().hash(_normal(password))


def fits(password: str, stored: str | None) -> bool:
    """Whether a password is the stored one; takes as long where there is none."""
    import argon2

    try:
        _hasher().verify(stored or _NOBODY, _normal(password[: MAX_PASSWORD + 1]))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return stored is not None


def read_password(password: str, least: int, *named: str | None) -> str:
    """A password that somebody chose.

    Args:
        named: what it must not be: the id, name or address of the person.

    Raises:
        InvalidError: it is too short or too long, cannot be typed again, or is one that is tried first.
    """
    plain = _normal(password)
    reason = None
    if not least <= len(plain) <= MAX_PASSWORD:
        reason = f"has {len(plain)} characters; take {least} to {MAX_PASSWORD}"
    elif unfit(plain):
        reason = str(unfit(plain))
    elif len(set(plain.casefold())) < 5 or plain.casefold() in _sequences():
        reason = "is one of those that are tried first; take one with more different characters"
    elif any(known and plain.casefold() == known.casefold() for known in named):
        reason = "is your id, name or address; take another"
    if reason:
        raise InvalidError(f"password {reason}", field="password")  # never with its value
    return plain


def temporary_password() -> str:
    """About 98 bits, typed without a mistake."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))


def new_totp() -> str:
    import pyotp

    return pyotp.random_base32()


def totp_uri(secret: str, who: str, installation: str) -> str:
    """What an app reads or a person types into one; no picture is needed."""
    import pyotp

    return pyotp.TOTP(secret).provisioning_uri(name=who, issuer_name=installation)


def totp_step(secret: str, code: str, now: datetime, after: int | None) -> int | None:
    """The time step of a code that is right now and later than any taken before; None for every other code."""
    import pyotp

    plain = "".join(code.split())
    if not (len(plain) == 6 and plain.isascii() and plain.isdigit()):
        return None
    step = int(now.timestamp()) // STEP_S
    totp, found = pyotp.TOTP(secret), None
    for candidate in range(step - WINDOW, step + WINDOW + 1):
        if hmac.compare_digest(totp.at(candidate * STEP_S), plain) and (after is None or candidate > after):
            found = candidate
    return found


def new_recovery_codes() -> list[str]:
    return [
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(2)) for _ in range(RECOVERY_CODES)
    ]


def recovery_hash(code: str) -> str:
    """A code has 49 random bits and every sign-in needs the password as well: a plain hash is enough."""
    return hashlib.sha256("".join(code.casefold().split()).replace("-", "").encode()).hexdigest()


def seal(key: bytes, purpose: str, content: Any) -> str:
    """A JSON value that only this installation can read or make, for one purpose."""
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(_derived(key, purpose)).encrypt(nonce, json.dumps(content).encode(), purpose.encode())
    return base64.urlsafe_b64encode(nonce + sealed).decode()


def unseal(key: bytes, purpose: str, sealed: str) -> Any:
    """What was sealed; None if it was not by this installation, or for another purpose."""
    try:
        raw = base64.urlsafe_b64decode(sealed.encode("ascii"))
        return json.loads(AESGCM(_derived(key, purpose)).decrypt(raw[:12], raw[12:], purpose.encode()))
    except (ValueError, InvalidTag):
        return None


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, f"assay seal: {purpose}".encode(), hashlib.sha256).digest()


def _normal(password: str) -> str:
    """NFKC, as RFC 8265 and NIST SP 800-63B have it: the same keys give the same password on every keyboard."""
    return unicodedata.normalize("NFKC", password)


def _sequences() -> set[str]:
    rows = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertyuiopasdfghjklzxcvbnm", "1234567890")
    found = {(row * 20)[:length] for row in rows for length in range(8, 130)}
    return found | {"password1234", "password12345", "passwordpassword", "correcthorsebatterystaple", "letmein12345"}
