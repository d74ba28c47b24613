"""scikit-learn estimators in skops' format: equal estimators give equal bytes, and only reviewed types are loaded."""

import io
import json
import zipfile
from collections.abc import Set
from typing import Any, Final

from retrain.train.errors import DataError

# What skops does not trust by itself and these estimators hold. Reviewed: both are plain arrays of nodes, and loading
# one calls no function that the file names.
REVIEWED: Final = frozenset(
    {"sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}
)
_TIME: Final = (1980, 1, 1, 0, 0, 0)


def dumps(estimator: Any) -> bytes:
    """The file of an estimator. skops numbers objects by their place in memory; here they are numbered in order."""
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as made:
        contents = {name: made.read(name) for name in made.namelist()}
    schema = json.loads(contents.pop("schema.json"))
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    _renumber(schema, numbers, files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(contents, key=lambda old: files.get(old, old)):
            _write(file, files.get(name, name), contents[name])
        _write(file, "schema.json", json.dumps(schema, indent=2).encode())
    return buffer.getvalue()


def _write(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    file.writestr(zipfile.ZipInfo(name, _TIME), content, zipfile.ZIP_DEFLATED)


def _renumber(part: Any, numbers: dict[int, int], files: dict[str, str]) -> None:
    if isinstance(part, dict):
        if isinstance(part.get("__id__"), int):
            part["__id__"] = numbers.setdefault(part["__id__"], len(numbers) + 1)
        if isinstance(part.get("file"), str):
            ending = part["file"].rpartition(".")[2]
            part["file"] = files.setdefault(part["file"], f"{len(files) + 1}.{ending}")
        for name in part:
            _renumber(part[name], numbers, files)
    elif isinstance(part, list):
        for one in part:
            _renumber(one, numbers, files)


def loads(content: bytes, reviewed: Set[str] = REVIEWED) -> Any:
    """The estimator of a file. Raises DataError if it holds a type that is not reviewed."""
    import skops.io

    unknown = set(skops.io.get_untrusted_types(data=content))
    if others := sorted(unknown - reviewed):
        raise DataError(f"the skops file holds types that are not reviewed ({', '.join(others[:3])}) and is not loaded")
    return skops.io.loads(content, trusted=sorted(unknown))
