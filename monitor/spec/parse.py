"""Parse a spec from a mapping, YAML or JSON."""

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from core.errors import InvalidError
from monitor.spec.model import ModelSpec


class SpecError(InvalidError):
    """The spec is refused; `problems` lists each wrong field with its value and the reason."""

    code = "invalid_spec"


def parse_spec(document: Any) -> ModelSpec:
    """The spec that a mapping of fields declares.

    Raises:
        SpecError: with every problem found; each names the field, its value and the reason.
    """
    if not isinstance(document, Mapping):
        raise SpecError(f"a spec is a mapping of fields; got {type(document).__name__}", problems=[])
    try:
        return ModelSpec.model_validate(dict(document))
    except ValidationError as error:
        problems = [
            {
                "field": ".".join(str(part) for part in problem["loc"]) or "(whole spec)",
                "reason": problem["msg"].removeprefix("Value error, "),
                "value": repr(problem.get("input"))[:200] if problem["loc"] else None,
            }
            for problem in error.errors()
        ]
        first = problems[0]
        got = f" (got {first['value']})" if first["value"] else ""
        raise SpecError(f"spec field {first['field']}: {first['reason']}{got}", problems=problems) from error


def load_spec(text: str | bytes) -> ModelSpec:
    """The spec that a YAML or JSON text declares.

    Raises:
        SpecError: the text is neither YAML nor JSON, or a field is wrong.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"the spec is neither YAML nor JSON: {error}", problems=[]) from error
    return parse_spec(document)
