"""Damage in the log of a dead process: told from a torn tail, kept aside, and taken out so that the rest is read.

A log ends torn where a power loss stopped a write: what follows was never acknowledged. Records that cannot be read and
have sound ones after them, or that are there in full length, were acknowledged and are lost. Their bytes are copied to
a folder of their own with a report of what is missing (`Damage`), which others announce.

A segment is named by the position at which it begins. The sound records after a damaged stretch therefore become a
segment of their own, and keep their positions.
"""

import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from core.artifacts import fsync_folder, write_durably
from monitor.events.wal_records import Header, head_at, header_of, marks, records, segments, sound_at

ASIDE: Final = "wal-damaged"  # beside the folder of the logs
NEW, TOLD = ".new.json", ".json"  # ends of a report's name: not announced yet, announced
_ZEROS: Final = 8  # that a power loss leaves at the end; a payload ends in fewer


@dataclass(frozen=True)
class Lost:
    """Rows of one table that were acknowledged and cannot be read."""

    model: str
    kind: str
    records: int
    rows: int


@dataclass(frozen=True)
class Damage:
    """One damaged stretch of a log.

    `whole` is false if its end could not be followed from record to record: then it may hold more than `lost` names.
    """

    file: str  # with the damaged bytes
    log: str
    first: int  # position
    end: int
    whole: bool
    models: tuple[str, ...]  # with rows in the damaged bytes
    lost: tuple[Lost, ...]
    recovered_records: int  # sound ones of the same log
    recovered_rows: int


class Reached(Protocol):
    """Up to which position of a log the rows of a table are flushed."""

    def __call__(self, key: tuple[str, str], log: str) -> int: ...


@dataclass(frozen=True)
class _Scan:
    """A segment: its sound records with their ends, and the stretches between and after them."""

    segment: Path
    sound: list[tuple[int, int, Header]]
    bad: list[tuple[int, int]]

    @property
    def start(self) -> int:
        return int(self.segment.stem)


def mend(folder: Path, aside: Path, reached: Reached) -> None:
    """Truncate a dead process's log at its torn tail, and take damaged stretches out of it; safe to repeat.

    Raises:
        OSError: the damaged bytes could not be kept aside; the log is as it was.
    """
    scans = [_scan(segment) for segment in segments(folder)]
    headers = [header for scan in scans for _, _, header in scan.sound]
    for number, scan in enumerate(scans):
        if not scan.bad:
            continue
        data, later = scan.segment.read_bytes(), scans[number + 1 :]
        bad = scan.bad
        torn = not any(one.sound for one in later) and _is_torn(data, scan)
        if torn:
            for one in later:
                one.segment.unlink()
            _cut(scan.segment, bad[-1][0])
            bad = bad[:-1]
        for first, end in bad:
            _keep_aside(scan, (first, end), data, aside, partial(reached, log=folder.name), headers)
        if bad:
            _split(scan, data)
        if torn:
            return


def reports(aside: Path) -> Iterator[tuple[Path, Damage]]:
    """What was not announced yet, with the file of each report."""
    for path in sorted(aside.glob(f"*{NEW}")):
        document = json.loads(path.read_bytes())
        yield (
            path,
            Damage(
                **document
                | {"models": tuple(document["models"]), "lost": tuple(Lost(**one) for one in document["lost"])}
            ),
        )


def forget(aside: Path, model: str) -> None:
    """Delete the damaged bytes that may hold rows of a model, because nobody can search them for a person."""
    for path in aside.glob(f"*{TOLD}"):  # NEW ends so too
        document = json.loads(path.read_bytes())
        if model in document["models"] or not document["whole"]:
            (aside / document["file"]).unlink(missing_ok=True)
    if aside.exists():
        fsync_folder(aside)


def announced(report: Path) -> None:
    """Do not give a report again."""
    report.rename(report.with_name(report.name.removesuffix(NEW) + TOLD))


def _scan(segment: Path) -> _Scan:
    found = _Scan(segment, [], [])
    at = 0
    for record in records(segment, "", checked=True):
        found.sound.append((at, record.offset + record.size, record.header))
        at = record.offset + record.size
    if at == segment.stat().st_size:
        return found
    data = segment.read_bytes()
    while at < len(data):
        head = sound_at(data, at)
        if head is not None and head.header is not None:
            found.sound.append((at, head.end, head.header))
            at = head.end
        else:
            following = _next_sound(data, at)
            found.bad.append((at, following))
            at = following
    return found


def _next_sound(data: bytes, at: int) -> int:
    """Where the next sound record begins; the end of the segment if there is none."""
    head = head_at(data, at)
    if head is not None and head.header is not None and sound_at(data, head.end):
        return head.end
    return next((found for found in marks(data, at + 1) if sound_at(data, found)), len(data))


def _is_torn(data: bytes, scan: _Scan) -> bool:
    """Whether a segment ends in a write that a power loss stopped."""
    first, end = scan.bad[-1]
    rest = data[first:]
    if end != len(data):
        return False
    if len(rest) - len(rest.rstrip(b"\0")) >= _ZEROS:
        return True
    head = head_at(data, first)
    if head is None:
        return True
    # Shorter than it says, unless it is the length that was damaged: then all of the payload is there.
    return head.end > len(data) and (head.header is None or zlib.crc32(data[head.payload_at :]) != head.checksum)


def _keep_aside(
    scan: _Scan, stretch: tuple[int, int], data: bytes, aside: Path, reached: Callable[..., int], sound: list[Header]
) -> None:
    first, end = stretch
    lost: Counter[tuple[str, str]] = Counter()
    rows: Counter[tuple[str, str]] = Counter()
    models: set[str] = set()
    at = first
    for header, following in _headers(data, first, end):
        key = (header.model, header.kind)
        models.add(key[0])
        if reached(key) < scan.start + following:
            lost[key] += 1
            rows[key] += header.rows
        at = following
    if at == end and not lost:
        return  # every row of it is in its table
    log = scan.segment.parent.name
    name = f"{log}-{scan.start + first:020}"
    damage = Damage(
        f"{name}.bytes", log, scan.start + first, scan.start + end, at == end, tuple(sorted(models)),
        tuple(Lost(*key, count, rows[key]) for key, count in sorted(lost.items())),
        len(sound), sum(header.rows for header in sound),
    )  # fmt: skip
    write_durably(aside / damage.file, data[first:end], mode=0o600)
    if not (aside / f"{name}{TOLD}").exists():
        write_durably(aside / f"{name}{NEW}", json.dumps(asdict(damage)).encode(), mode=0o600)


def _headers(data: bytes, at: int, end: int) -> Iterator[tuple[Header, int]]:
    """What is known of the records of a damaged stretch, one after the other: the header and the end of each."""
    while at < end:
        head = head_at(data, at)
        if head is not None and head.header is not None and head.end <= end:
            yield head.header, head.end
            at = head.end
        elif (header := header_of(data, at, end)) is not None:
            yield header, end
            return
        else:
            return


def _split(scan: _Scan, data: bytes) -> None:
    """Let a segment end before its damage, and each run of sound records after it become a segment."""
    first_bad = scan.bad[0][0]
    runs: list[list[int]] = []
    for first, end, _ in scan.sound:
        if first > first_bad and runs and runs[-1][1] == first:
            runs[-1][1] = end
        elif first > first_bad:
            runs.append([first, end])
    for first, end in runs:
        write_durably(scan.segment.with_name(f"{scan.start + first:020}.log"), data[first:end], mode=0o600)
    _cut(scan.segment, first_bad)


def _cut(segment: Path, size: int) -> None:
    with segment.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())
    fsync_folder(segment.parent)
