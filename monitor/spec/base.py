"""The shared base of every part of a spec: unknown fields are refused, values do not change."""

from pydantic import BaseModel, ConfigDict


class SpecPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
