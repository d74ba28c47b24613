"""The lake of a backup: of each Delta table one version with every file that it names, and the logs before it.

Other processes go on writing. The version is read first; files that a rewrite removed and deleted meanwhile are made up
for by a newer version.
"""

import json
import re
from pathlib import Path
from typing import Final

from api.backup.copying import BackupFailedError, Copier
from monitor.lake.datafile import PARTITION
from monitor.lake.log import VERSION_ENDS_FILE
from monitor.lake.table import LakeTable

LOG: Final = "_delta_log"
TRIES: Final = 5
_NUMBERED: Final = re.compile(r"(\d{20})\.(json|checkpoint\..*parquet|checkpoint\.parquet)", re.ASCII)


class _ChangedMeanwhileError(Exception):
    """A file of the version was deleted before it was copied."""


def copy_lake(lake: Path, copier: Copier) -> dict[str, int]:
    """Copy every table; returns the version of each, by its path in the lake.

    Raises:
        BackupFailedError: a table lost files again and again while it was copied.
    """
    versions = {}
    folders = sorted(path.parent for path in lake.glob(f"**/{LOG}"))
    for folder in folders:
        name = folder.relative_to(lake).as_posix()
        versions[name] = _copy_table(folder, f"lake/{name}", copier)
    for path in sorted(p for p in lake.glob("_ids/*") if p.is_file() and not p.name.startswith(".")):
        copier.copy(path, f"lake/{path.relative_to(lake).as_posix()}")
    return versions


def _copy_table(folder: Path, name: str, copier: Copier) -> int:
    for _ in range(TRIES):
        try:
            return _copy_version(folder, name, copier)
        except _ChangedMeanwhileError:
            copier.drop(f"{name}/{LOG}/")
    raise BackupFailedError(f"{folder} is rewritten faster than it can be copied; try again later", table=name)


def _copy_version(folder: Path, name: str, copier: Copier) -> int:
    snapshot = LakeTable(folder).snapshot()
    earlier = set[str]()  # files that an earlier version names: they are read while history is kept
    for path in sorted((folder / LOG).iterdir()):
        found = _NUMBERED.fullmatch(path.name)
        if found is None or int(found[1]) > snapshot.version:
            continue
        if not copier.copy(path, f"{name}/{LOG}/{path.name}"):
            raise _ChangedMeanwhileError
        if found[2] == "json":
            earlier |= _added(copier.root / name / LOG / path.name)
    _copy_pointer(folder, name, copier, snapshot.version)
    present = {file.path for file in snapshot.files}
    for data in sorted(present | earlier):
        kept = f"{name}/{data}"
        if kept not in copier.files and not copier.copy(folder / data, kept) and data in present:
            raise _ChangedMeanwhileError
    names = {data.rpartition("/")[2] for data in present}
    for index in sorted((folder / "_ids").glob("*.ids")):
        if index.stem in names:
            copier.copy(index, f"{name}/_ids/{index.name}")
    copier.copy(folder / VERSION_ENDS_FILE, f"{name}/{VERSION_ENDS_FILE}")
    copied = LakeTable(copier.root / name).snapshot()
    if (copied.version, {f.path for f in copied.files}) != (snapshot.version, present):
        raise _ChangedMeanwhileError
    return snapshot.version


def _copy_pointer(folder: Path, name: str, copier: Copier, version: int) -> None:
    """Copy `_last_checkpoint` unless it points to a newer version; readers find checkpoints without it too."""
    pointer = f"{name}/{LOG}/_last_checkpoint"
    if copier.copy(folder / LOG / "_last_checkpoint", pointer):
        try:
            fits = json.loads((copier.root / pointer).read_bytes())["version"] <= version
        except (ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            copier.drop(pointer)


def _added(entry: Path) -> set[str]:
    with entry.open() as file:
        actions = [json.loads(line) for line in file if line.strip()]
    named = {action["add"]["path"] for action in actions if "add" in action}
    return {path for path in named if path.startswith(f"{PARTITION}=") and ".." not in path.split("/")}
