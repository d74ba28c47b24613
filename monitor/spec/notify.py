"""Who is told about a model, and how somebody goes on from there."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from monitor.spec.base import SpecPart, Written
from monitor.spec.duration import Duration


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s<>\"']+", text):
        raise ValueError(f"{text[:200]!r} is no address; write one that begins with http:// or https://")
    return text


Address = Annotated[str, AfterValidator(_address), Written("web address", "https://wiki.example.com/runbook")]


class Notify(SpecPart):
    """Who is told about alerts of this model. Channels are settings of the installation, see
    [notifications](notifications.md)."""

    channels: tuple[str, ...] | None = Field(
        None,
        description="names of channels of the installation; without it, every channel whose route fits. If none of "
        "them is set, all are told",
        examples=["[ops]"],
    )
    severity: Literal["info", "warning", "critical"] = Field(
        "info", description="least severity that is told", examples=["warning"]
    )
    runbook: Address | None = Field(
        None,
        max_length=2000,
        description="instructions for alerts of this model; every message links to them",
        examples=["https://wiki.example.com/runbook"],
    )
    cooldown: Duration | None = Field(
        None,
        description="least time between two messages about one incident, unless it gets worse; without it, the "
        "setting of the installation. Longer means fewer messages, with more in each",
        examples=["4h"],
    )
