"""Parse a spec from JSON or YAML."""

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from core.errors import InvalidError
from monitor.spec.model import ModelSpec


class SpecError(InvalidError):
    """The spec is refused; `problems` lists every field with its value and reason."""

    code = "invalid_spec"


def parse_spec(document: Any) -> ModelSpec:
    """Check a spec given as a mapping.

    Raises:
        SpecError: with every problem found, each naming field, value and reason.
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
    """Check a spec given as YAML or JSON text.

    Raises:
        SpecError: not YAML, or a field is wrong.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"the spec is neither YAML nor JSON: {error}", problems=[]) from error
    return parse_spec(document)
