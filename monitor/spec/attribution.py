"""How attributions are watched over time: the spec key `monitors.attribution`."""

from typing import TYPE_CHECKING

from pydantic import Field

from monitor.spec.base import KeyProblem, SpecPart
from monitor.spec.problems import nearest

if TYPE_CHECKING:
    from monitor.spec.model import ModelSpec


class AttributionMonitor(SpecPart):
    """What each column counts in the model's answers, window by window, and an alarm where that changes."""

    rows: int = Field(
        200, ge=30, le=10_000, description="rows of a window that are explained, drawn by a fixed seed; more rows show "
        "smaller changes and take longer", json_schema_extra={"unit": "rows"},
    )  # fmt: skip
    reference_rows: int = Field(
        1_000, ge=30, le=50_000, description="rows of the reference that are explained, once for each version",
        json_schema_extra={"unit": "rows"},
    )  # fmt: skip
    floor: float = Field(
        0.05, ge=0, le=1, description="the smallest change that may alarm, as a share of what all columns count "
        "together in the reference", json_schema_extra={"unit": "0..1"},
    )  # fmt: skip
    by: tuple[str, ...] = Field(
        (), description="columns with role segment: what each column counts is told for each of their values too",
        examples=["[channel]"],
    )  # fmt: skip


def check_attribution(spec: "ModelSpec") -> None:
    """Raises KeyProblem where `monitors.attribution` does not go with columns and task."""
    watched = spec.monitors.attribution
    if watched is None:
        return
    key = ("monitors", "attribution")
    if spec.task == "generation":
        raise KeyProblem(key, "is for models of typed columns, and the task is generation; leave it out")
    for at, name in enumerate(watched.by):
        if name not in spec.with_role("segment"):
            fitting = spec.with_role("segment")
            told = ", ".join(fitting) or "none is declared"
            raise KeyProblem(
                (*key, "by", at),
                f"names {name!r}, which is no column with role segment; such columns: {told}{nearest(name, fitting)}",
            )
