"""What else a person must know to send a file: the commands that come next, and what the file lacks. Pure."""

import shlex

from api.starter.facts import MIN_ROWS
from api.starter.guess import Draft
from api.starter.read import Sample


def options(draft: Draft) -> list[str]:
    """The options with which `assay ingest` and `assay replay` take the file."""
    own = draft.own
    found: list[str] = []
    if (ts := own.sources.get("ts")) is not None and ts != "ts":
        found += ["--ts", ts]
    if own.ts_as:
        found += ["--ts-as", own.ts_as]
    for source, name in draft.renames.items():
        found += ["--rename", f"{source}={name}"]
    if "version" not in own.sources:
        found += ["--model-version", "v1"]
    return found


def commands(draft: Draft, spec: str, file: str) -> list[str]:
    """The commands that come next, ready to be pasted."""
    after = " ".join(shlex.quote(part) for part in [spec, file, *options(draft)])
    applied = f"assay apply {shlex.quote(spec)}"
    if "ts" not in draft.own.sources:
        return [applied]
    replay = [] if "://" in file else [f"assay replay {after}"]
    return [*replay, applied, f"assay ingest {after}"]


def advice(draft: Draft, found: Sample) -> list[str]:
    """What the file lacks, and how it is sent all the same."""
    own = draft.own
    notes: list[str] = []
    if "ts" not in own.sources:
        notes.append(
            "No column holds the time of the answer, and every event needs one: add a column `ts` such as "
            "2026-03-01T12:00:00Z before you send this file."
        )
    elif own.ts_as:
        notes.append(
            f"The time is {own.sources['ts']}, read as {own.ts_as}; if that is wrong, give another --ts-as (a "
            f"time zone, or "
            "epoch_s, epoch_ms, epoch_us, epoch_ns)."
        )
    if "event_id" not in own.sources:
        notes.append(
            "No column identifies an event: `assay ingest` makes ids from the file and the number of the row. "
            "Outcomes that "
            "come later need ids of your own: send them as event_id."
        )
    if "version" not in own.sources:
        notes.append("No column says which version of the model answered: give it with --model-version.")
    if found.frame.height < MIN_ROWS:
        notes.append(
            f"Only {found.frame.height} rows: with fewer than {MIN_ROWS}, roles and types are guessed from names."
        )
    return notes
