"""The keys of a recipe for models that write: how they are asked, and what they learn of it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from monitor.spec.base import KeyProblem

Packing = Annotated[
    bool | Literal["auto"],
    Field(
        description="with causal_lm: whether rows of `max_length` tokens are filled with whole documents, told apart "
        "by their lengths; `auto` does so on a GPU, `true` on the CPU too",
        examples=["true"],
    ),
]


class Chat(BaseModel):
    """How a language model is asked and answers: in the format of its base, and which answers of a conversation count.

    An input may hold a text, the single message of a user, or a conversation as a JSON list of messages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: Literal["auto", "base", "none"] = Field(
        default="auto", description="`auto` writes texts and conversations in the chat template of the base where it "
        "has one, `base` refuses a base without one, `none` writes them as they are",
    )  # fmt: skip
    system: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] | None = Field(
        default=None, description="system prompt of conversations that bring none", examples=["You help customers."]
    )
    learn: Literal["last", "all"] = Field(
        default="last", description="what gives the loss: the `last` answer, which is the outcome, or `all` answers of "
        "the assistant, also those that the input brings",
    )  # fmt: skip

    @model_validator(mode="after")
    def _needs_a_template(self) -> Self:
        for name, given in (("system", self.system is not None), ("learn", self.learn != "last")):
            if self.template == "none" and given:
                raise KeyProblem(
                    (name,), f"is {getattr(self, name)!r}, and template is none, which knows no turns; leave it out"
                )
        return self


def unusable(why: str) -> str:
    """The message about a template that no text can be written in."""
    return (
        f"retrain.recipe.chat.template: the chat template of the base cannot be used: {why}; mend it, or write "
        "template: none"
    )
