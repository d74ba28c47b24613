"""The folder of a tabular model, as far as JSON tells: checked when a spec is applied, before a library is loaded."""

import json
from pathlib import Path
from typing import Any, Final

from retrain.train.errors import DataError, UnsafeWeightsError, WeightsNotFoundError
from retrain.train.tabular.estimator_list import ESTIMATORS
from retrain.train.weights import PICKLED, file_digest

PIPELINE: Final = "pipeline.json"
FORMAT: Final = "assay tabular model 1"
ALLOWED: Final = (PIPELINE, "run.json", "labels.json", *dict.fromkeys(entry.file for entry in ESTIMATORS.values()))
KEYS: Final = ("task", "estimator", "file", "sha256", "labels", "columns", "features")


def is_tabular(folder: Path) -> bool:
    return (folder / PIPELINE).is_file()


def read_pipeline(folder: Path, field: str = "base_dir") -> dict[str, Any]:
    """pipeline.json of a folder, after its model file was found to be the one that it names.

    Raises:
        WeightsNotFoundError, UnsafeWeightsError: a file is missing, or pickled.
        DataError: pipeline.json is none, or the model file is another than it says.
    """
    if not folder.is_dir():
        raise WeightsNotFoundError(field, folder, "is not a folder; put it back, or make one with `assay first-model`")
    if pickled := sorted(p.name for p in folder.iterdir() if p.suffix in (*PICKLED, ".joblib")):
        raise UnsafeWeightsError(field, folder, pickled)
    if not is_tabular(folder):
        raise WeightsNotFoundError(field, folder, f"has no {PIPELINE}; make the folder with `assay first-model`")
    try:
        found = json.loads((folder / PIPELINE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{field}: {folder / PIPELINE} is no JSON ({error}); copy it again", field=field) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or any(key not in found for key in KEYS):
        words = f"{field}: {folder / PIPELINE} is not of the format {FORMAT!r}; make it with `assay first-model`"
        raise DataError(words, field=field)
    known = ESTIMATORS.get(found["estimator"])
    if known is None or found["file"] != known.file:
        raise DataError(f"{field}: {folder / PIPELINE} names estimator {found['estimator']!r} in {found['file']!r}; "
                        f"choose from {', '.join(ESTIMATORS)}", field=field)  # fmt: skip
    file = folder / known.file
    if not file.is_file():
        raise WeightsNotFoundError(field, folder, f"has no {known.file}; copy every file of the model")
    if (digest := file_digest(file)) != found["sha256"]:
        raise DataError(f"{field}: {file} has digest {digest}, {PIPELINE} says {found['sha256']}; copy both files of "
                        "one model", field=field)  # fmt: skip
    return found
