"""Who must agree to what, by the risk tier of a model. Pure.

`retrain.approval` may ask for more people than the tier does, never for fewer.
"""

from dataclasses import dataclass
from typing import Final

TIERS: Final = ("minimal", "limited", "high")
APPROVALS: Final = {"none": 0, "one": 1, "two": 2}


@dataclass(frozen=True, slots=True)
class Tier:
    """What one tier asks for at the least.

    Attributes:
        promotion, loosening, lifting: people who must agree, none of whom started, wrote or stopped it.
        attestation: whether a promotion needs the statement of a validator.
    """

    name: str
    promotion: int
    loosening: int
    lifting: int
    attestation: bool


TABLE: Final = {
    "minimal": Tier("minimal", promotion=0, loosening=0, lifting=0, attestation=False),
    "limited": Tier("limited", promotion=0, loosening=0, lifting=0, attestation=False),
    "high": Tier("high", promotion=1, loosening=1, lifting=1, attestation=True),
}


def asked(risk: str, approval: str) -> Tier:
    """What a model's tier and its own `retrain.approval` ask for together.

    Where a tier asks for nobody, a spec is loosened and a stop lifted by one person, whatever a promotion needs.
    """
    tier, own = TABLE[risk], APPROVALS[approval]
    return Tier(
        risk, promotion=max(tier.promotion, own), loosening=max(tier.loosening, own) if tier.loosening else 0,
        lifting=max(tier.lifting, own) if tier.lifting else 0, attestation=tier.attestation,
    )  # fmt: skip
