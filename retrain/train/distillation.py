"""Keys of a recipe that learns from a teacher, and what a run records of the teacher. No model library is loaded.

Source: Hinton, Vinyals and Dean (2015), Distilling the Knowledge in a Neural Network, arXiv:1503.02531.
"""

from typing import Annotated, Literal

from pydantic import Field

Teaching = Annotated[
    Literal["champion"] | None,
    Field(
        description="learn from the champion's answers beside the outcomes, so that a smaller base_model comes close "
        "to it: from its probabilities of the labels that both know, or of the next token where their vocabulary is "
        "one",
        examples=["champion"],
    ),
]
TeacherWeight = Annotated[
    float,
    Field(
        gt=0, le=1, description="with teacher: weight of its answers; that of the outcomes is the rest",
        json_schema_extra={"unit": "0..1"},
    ),
]  # fmt: skip
Temperature = Annotated[
    float,
    Field(
        gt=0, le=20, description="with teacher: by how much both sets of scores are divided; a higher one teaches more "
        "about the answers that the teacher finds unlikely",
    ),
]  # fmt: skip
