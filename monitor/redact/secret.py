"""Keys and tokens that have a recognisable form, JSON Web Tokens and private keys."""

from typing import Final

from monitor.redact.base import Pattern, TextSpan

# The prefix of each form identifies it.
_FORMS: Final = (
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z2-7]{16}\b",  # Amazon Web Services
    r"\bAIza[0-9A-Za-z_-]{35}",  # Google
    r"\bya29\.[0-9A-Za-z_-]{20,}",
    r"\bgh[pousr]_[0-9A-Za-z]{36,255}\b",  # GitHub
    r"\bgithub_pat_[0-9A-Za-z_]{22,255}\b",
    r"\bglpat-[0-9A-Za-z_-]{20,}",  # GitLab
    r"\bsk-[0-9A-Za-z_-]{20,}",  # OpenAI, Anthropic
    r"\b[sr]k_(?:live|test)_[0-9A-Za-z]{16,}\b",  # Stripe
    r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}",  # Slack
    r"\bSG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",  # SendGrid
    r"\bnpm_[0-9A-Za-z]{36}\b",
    r"\bpypi-[0-9A-Za-z_-]{50,}",
    r"\bhf_[0-9A-Za-z]{30,}\b",
    r"\bassay_[0-9a-f]{10}_[0-9a-f]{64}\b",
    r"\beyJ[0-9A-Za-z_-]{5,}\.eyJ[0-9A-Za-z_-]{5,}\.[0-9A-Za-z_-]*",  # JSON Web Token
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
)
_HINTS: Final = (
    "AKIA", "ASIA", "AROA", "AIDA", "AIza", "ya29", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
    "sk-", "sk_", "rk_", "xox", "SG\\.", "npm_", "pypi-", "hf_", "assay_", "eyJ", "PRIVATE KEY",
)  # fmt: skip


def spans(candidate: str) -> tuple[TextSpan, ...]:
    """The whole candidate: the form alone identifies a secret."""
    return ((0, len(candidate)),)


PATTERN: Final = Pattern(name="secret", hint="|".join(_HINTS), pattern="|".join(_FORMS), spans=spans, normal=str)
