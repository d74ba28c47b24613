"""Which models a person or a key is for: all, some, one or none. What lies outside answers as if it did not exist."""

import re
from collections.abc import Sequence
from typing import Final

from core.errors import ForbiddenError, InvalidError, NotFoundError
from governance.access.roles import Caller

MAX_MODELS: Final = 1000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")  # as a spec names a model


class NotInScopeError(NotFoundError):
    """The same answer for what does not exist and for what belongs to a model outside the caller's scope."""

    code = "not_in_scope"


class WholeScopeError(ForbiddenError):
    code = "scope_too_small"


def read_models(models: Sequence[str] | None) -> list[str] | None:
    """A scope as it is kept: None for all models, otherwise names in order, each once. They need not be declared yet.

    Raises:
        InvalidError: a name is none that a model can have, or there are too many.
    """
    if models is None:
        return None
    for name in models:
        if not _NAME.fullmatch(name):
            raise InvalidError(
                f"models has {name[:100]!r}, which is no name of a model; write names as `assay models` lists them, or "
                "leave the field out for all models",
                field="models", value=name[:100],
            )  # fmt: skip
    found = sorted(set(models))
    if len(found) > MAX_MODELS:
        raise InvalidError(
            f"models has {len(found)} names, at most {MAX_MODELS} can be given; leave the field out for all models",
            field="models", value=len(found),
        )  # fmt: skip
    return found


def require_model(caller: Caller, model: str | None, what: str) -> None:
    """
    Args:
        model: None for the installation itself.
        what: what was asked for, as the message names it.

    Raises:
        NotInScopeError: the model is not within the caller's scope.
    """
    if caller.sees(model):
        return
    raise NotInScopeError(
        f"{what} does not exist among the models that {caller.name} is for ({scope_words(caller)}); an admin changes "
        "the scope with `assay keys scope` or `assay people scope`",
    )


def require_all_models(caller: Caller) -> None:
    """
    Raises:
        WholeScopeError: the caller is not for all models.
    """
    if caller.models is not None:
        raise WholeScopeError(
            f"this concerns all models, and {caller.name} is for {scope_words(caller)}; ask somebody who is for all, "
            "or name a model where the request allows it"
        )


def scope_words(caller: Caller) -> str:
    if caller.models is None:
        return "all models"
    return ", ".join(sorted(caller.models)) or "no model"
