"""What is kept of a base model's files: the digest of each, and the two that say how it is built."""

import json
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from core.canonical import canonical, digest
from core.errors import AppError
from governance.ledger.read import ledger_entries
from monitor.site import Site
from retrain.train.weights import folder_files

KEPT: Final = ("tokenizer_config.json", "config.json")
ENTRIES: Final = ("version.registered", "run.started")  # which name the artifact as `base_files`


def keep_base(site: Site, folder: Path) -> tuple[str, str]:
    """(digest of the folder, artifact with the digest of each of its files). Weights are not copied."""
    files = folder_files(folder)
    for name in KEPT:
        if name in files:
            site.artifacts.put((folder / name).read_bytes())
    return digest(files), site.artifacts.put(canonical(files))


def base_config(site: Site, db: Session, base_digest: str) -> dict[str, Any]:
    """config.json and the tokenizer's of a base as they were when it was used; empty where nothing was kept."""
    entries = ledger_entries(db, ENTRIES)
    kept = next((e["body"]["base_files"] for e in reversed(entries)
                 if e["body"].get("base_digest") == base_digest and e["body"].get("base_files")), None)  # fmt: skip
    found: dict[str, Any] = {}
    if kept is None:
        return found
    try:
        files = json.loads(site.artifacts.get(kept))
        for name in KEPT:
            if name in files:
                found |= json.loads(site.artifacts.get(files[name]))
    except (AppError, ValueError):  # gone or unreadable: whoever asks has less to say
        return found
    return found
