"""Match the columns of a file to those of a spec, before a row of it is sent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from api.upload.batches import batches, column_names
from api.upload.files import UploadSource
from api.upload.shape import UploadPlan
from core.errors import InvalidError
from monitor.ingest.ndjson import read_object
from monitor.spec.columns import BUILT_IN


def plan_of(source: UploadSource, plan: UploadPlan) -> UploadPlan:
    """Return the plan for one file: constants from its partition folders, and generated ids if it has none.

    Raises:
        InvalidError: a column is missing or not declared.
    """
    names = column_names(source)
    constants = {n: v for n, v in {**plan.constants, **source.partitions}.items() if n in plan.kinds}
    if names is None:
        return _plan_of_lines(source, plan, constants)
    renamed = [to for name in names if (to := plan.rename.get(name, name))]
    new = set(renamed)
    for name in sorted(n for n in new if renamed.count(n) > 1):
        raise InvalidError(
            f"file {source.name}: two columns are called {name!r}; leave one out with --rename 'COLUMN='", field=name
        )
    constants = {name: value for name, value in constants.items() if name not in new}
    new |= constants.keys()
    if not plan.outcomes_only:
        _demand(source, "ts", new, "name the column that holds the time of the answer with --ts COLUMN")
        _demand(source, "version", new, "name the column with --rename 'COLUMN=version', or give --model-version V")
    elif "event_id" not in new:
        _demand(source, "event_id", new, "an outcome needs the id of its event; use --rename 'COLUMN=event_id'")
    for name in sorted(new - plan.kinds.keys() - {"ts"}):
        why = "is reserved by Assay" if name in BUILT_IN else "is not declared in the spec; declare it"
        raise InvalidError(
            f"file {source.name}: column {name!r} {why}, rename it with --rename '{name}=COLUMN', or leave it out with "
            f"--rename '{name}='", field=name, value=name,
        )  # fmt: skip
    return replace(plan, constants=constants, ids=source.digest()[:32] if "event_id" not in new else None)


def _plan_of_lines(source: UploadSource, plan: UploadPlan, constants: Mapping[str, str]) -> UploadPlan:
    """Plan an NDJSON file from the keys of its first row; the service checks each row."""
    row = _first_object(source)
    new = {plan.rename.get(name, name) for name in row} - {""} | constants.keys()
    if row and not plan.outcomes_only:
        _demand(source, "ts", new, "name the field that holds the time of the answer with --ts FIELD")
    ids = source.digest()[:32] if row and "event_id" not in new and not plan.outcomes_only else None
    return replace(plan, constants=constants, ids=ids)


def _first_object(source: UploadSource) -> Mapping[str, Any]:
    batch = next(batches(source, 0), None)
    for line in batch.content if batch is not None and isinstance(batch.content, list) else ():
        if (row := read_object(line or b"")) is not None:
            return row
    return {}


def _demand(source: UploadSource, name: str, present: set[str], fix: str) -> None:
    if name not in present:
        raise InvalidError(f"file {source.name} has no column {name}; {fix}", field=name)
