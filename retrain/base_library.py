"""What the installed transformers library says of an architecture, read as source: importing it loads torch."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@cache
def source_of(model_type: str) -> str:
    """The library's module of an architecture; empty where it has none of this name."""
    module = re.sub(r"\W", "_", model_type)
    spec = find_spec("transformers")
    places = spec.submodule_search_locations if spec else None
    root = Path(places[0]) / "models" if places else Path()
    for name in (module, module.removesuffix("_text")):  # the text model of a larger one lies with it
        file = root / name / f"modeling_{name}.py"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return ""


def backbone_of(model_type: str) -> str:
    """What the names of weights of the backbone begin with, which are no head's."""
    found = re.search(r'base_model_prefix = "(\w+)"', source_of(model_type))
    return found[1] if found else "model"


@cache
def _tables() -> dict[str, dict[str, str]]:
    """Class by model type and task, from the source of the installed transformers library; importing it loads torch."""
    spec = find_spec("transformers")
    places = spec.submodule_search_locations if spec else None
    found: dict[str, dict[str, str]] = {}
    if not places:
        return found
    tree = ast.parse((Path(places[0]) / "models" / "auto" / "modeling_auto.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        match = re.fullmatch(
            r"MODEL_FOR_(SEQUENCE_CLASSIFICATION|CAUSAL_LM|MASKED_LM)_MAPPING_NAMES", node.targets[0].id
        )
        if match and isinstance(node.value, ast.Call) and node.value.args:
            found[match[1]] = dict(ast.literal_eval(node.value.args[0]))
    return found


def library_class(model_type: str, task: str) -> str | None:
    """The library's class for a task (`SEQUENCE_CLASSIFICATION`, `CAUSAL_LM`, `MASKED_LM`); None where it has none."""
    found: Any = _tables().get(task, {}).get(model_type)
    return found if isinstance(found, str) or found is None else str(found[0])
