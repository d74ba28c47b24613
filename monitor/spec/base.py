"""The shared base of every part of a spec: it refuses unknown fields, and its values do not change."""

from pydantic import BaseModel, ConfigDict


class SpecPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
