"""The JSON files and the headers of the weights of a base; no weight is read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from retrain.errors import BaseModelError
from retrain.train.weights import INDEX, weight_files

MAX_HEADER: Final = 100 * 2**20
MAX_JSON: Final = 200 * 2**20
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Headers:
    """By tensor its shape, and its type as safetensors calls it."""

    shapes: Shapes
    types: dict[str, str]


def read_headers(folder: Path) -> Headers:
    """
    Raises:
        BaseModelError: the index names files that are not in the folder, or tensors that they do not hold; a header
            cannot be read, or a file is shorter than its header says.
    """
    named: dict[str, Any] = {}
    if (folder / INDEX).is_file():
        found: Any = read_json(folder / INDEX).get("weight_map")
        if not isinstance(found, dict) or not found:
            raise wrong(folder, f"{INDEX} names no file; save the model again")
        named = found
        if outside := sorted({str(name) for name in named.values() if Path(str(name)).name != str(name)}):
            raise wrong(folder, f"{INDEX} names {outside[0]}, which is no file of this folder, so that no digest would "
                        "cover it; copy the file here")  # fmt: skip
    files = weight_files(folder)
    if missing := [file.name for file in files if not file.is_file()]:
        raise wrong(folder, f"{INDEX} names {', '.join(missing[:3])}, which is not there; copy every file")
    whole = Headers({}, {})
    for file in files:
        one = _header(folder, file)
        if lacking := sorted(n for n, at in named.items() if str(at) == file.name and n not in one.shapes):
            raise wrong(folder, f"{INDEX} says that {lacking[0]} is in {file.name}, which does not hold it; copy every "
                        "file again")  # fmt: skip
        whole.shapes.update(one.shapes)
        whole.types.update(one.types)
    return whole


def _header(folder: Path, file: Path) -> Headers:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MAX_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        end = max((int(one["data_offsets"][1]) for one in header.values()), default=0)
        shapes = {str(name): tuple(map(int, one["shape"])) for name, one in header.items()}
        types = {str(name): str(one["dtype"]) for name, one in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise wrong(folder, f"has a file {file.name} that is no safetensors file ({error}); copy it again") from error
    if file.stat().st_size < 8 + length + end:
        raise wrong(folder, f"has a file {file.name} that is cut short; copy it again")
    return Headers(shapes, types)


def read_json(file: Path) -> dict[str, Any]:
    """Raises BaseModelError where a file holds no JSON object."""
    try:
        if file.stat().st_size > MAX_JSON:
            raise ValueError(f"larger than {MAX_JSON >> 20} MiB")
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise wrong(file.parent, f"has a {file.name} that cannot be read ({error}); save it again") from error
    if not isinstance(found, dict):
        raise wrong(file.parent, f"has a {file.name} that is no JSON object; save it again")
    return found


def wrong(folder: Path, reason: str) -> BaseModelError:
    return BaseModelError(
        f"retrain.recipe.base_model: {folder} {reason}", field="retrain.recipe.base_model", value=str(folder)
    )
