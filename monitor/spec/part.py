"""Where a part of a model of models belongs: the spec key `part_of`."""

from typing import Annotated

from pydantic import Field

from monitor.spec.base import SpecPart

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Part(SpecPart):
    """Where a part of a model of models belongs."""

    model: Name = Field(
        description="the whole: a name that its parts share, and that of a model if it is watched too",
        examples=["support-desk"],
    )
    agent: str = Field(
        min_length=1, max_length=200,
        description="which agent of the whole this is: its value in the whole's column with role agent",
        examples=["billing"],
    )  # fmt: skip
