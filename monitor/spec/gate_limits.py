"""The limits by which gates judge a candidate, part of the envelope."""

from typing import Final

from pydantic import Field
from pydantic.config import JsonDict

from monitor.spec.base import SpecPart

REGRESSION_MARGIN: Final = 0.05
FORGETTING_MARGIN: Final = 0.1
SHARE: Final[JsonDict] = {"unit": "0..1"}


class GateLimits(SpecPart):
    """The limits by which gates judge a candidate; people set them beforehand."""

    max_regression: float = Field(
        0.0, ge=0, le=1,
        description="the non-inferiority margin on new held-out rows: a candidate passes when its 95 % interval rules "
        "out a larger drop of the KPI. With 0 no drop may be observed, and `regression_margin` must be ruled out",
        examples=[0.02], json_schema_extra=SHARE,
    )  # fmt: skip
    regression_margin: float = Field(
        REGRESSION_MARGIN, gt=0, le=1, exclude_if=lambda value: value == REGRESSION_MARGIN,
        description="drop that the interval must rule out where `max_regression` is 0; a smaller one needs more rows",
        json_schema_extra=SHARE,
    )  # fmt: skip
    max_forgetting: float = Field(
        0.04, ge=0, le=1, description="largest drop of the KPI observed on the old hold-out", json_schema_extra=SHARE
    )
    forgetting_margin: float = Field(
        FORGETTING_MARGIN, gt=0, le=1, exclude_if=lambda value: value == FORGETTING_MARGIN,
        description="drop on the old hold-out that the 95 % interval must rule out, at least `max_forgetting`; set "
        "both equal for a non-inferiority test", json_schema_extra=SHARE,
    )  # fmt: skip
