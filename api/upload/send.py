"""Send files into a running service, and resume where an earlier attempt ended.

Progress is saved after each batch. It may lag behind (a killed process, a lost response). The rows sent again then have
the same ids, and the service stores them once.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from api.client import Client, ServiceError
from api.upload.batches import batches
from api.upload.files import UploadSource
from api.upload.plan import plan_of
from api.upload.shape import UploadBody, UploadPlan, bodies, times_of
from core.artifacts import write_durably
from core.clock import SystemClock
from core.errors import InvalidError
from monitor.ingest.plausible_times import days_of, newest_day, time_span
from monitor.spec.model import ModelSpec

MAX_LISTED_REJECTIONS: Final = 1000  # rows
_MAX_BUSY_WAIT_S: Final = 600  # the most that one request waits for a busy service


@dataclass
class FileProgress:
    """How much of one file has been sent."""

    size: int
    changed: str
    rows: int = 0
    finished: bool = False


@dataclass
class UploadProgress:
    """Progress saved between attempts; `about` identifies the upload, so that another one cannot use the file."""

    path: Path
    about: dict[str, Any]
    files: dict[str, FileProgress] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, about: dict[str, Any]) -> "UploadProgress":
        """Read the progress file, or start a new one.

        Raises:
            InvalidError: the file is not a progress file, or belongs to another upload.
        """
        if not path.exists():
            return cls(path, about)
        try:
            document = json.loads(path.read_bytes())
            files = {name: FileProgress(**done) for name, done in document["files"].items()}
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidError(
                f"state: {path} is not a progress file of assay ingest; name another file or delete it", field="state"
            ) from error
        if document["about"] != about:
            raise InvalidError(
                f"state: {path} belongs to another ingest ({document['about'].get('file')} into "
                f"{document['about'].get('model')}); name another file", field="state",
            )  # fmt: skip
        return cls(path, about, files)

    def of(self, source: UploadSource) -> FileProgress:
        """Return the progress of a file; it starts again if the file has changed."""
        done = self.files.get(source.name)
        if done is None or (done.size, done.changed) != (source.size, source.changed):
            done = self.files[source.name] = FileProgress(source.size, source.changed)
        return done

    def save(self) -> None:
        document = {"about": self.about, "files": {name: asdict(done) for name, done in self.files.items()}}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self.path, json.dumps(document, indent=1).encode())


@dataclass
class Totals:
    """Counts of the rows sent in this run; an outcome counts in addition to its event."""

    files: int = 0
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    outcomes_accepted: int = 0
    outcomes_duplicates: int = 0
    rejected_total: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)  # the first LISTED

    @property
    def stored(self) -> int:
        """Rows that the service has stored, now or earlier."""
        return self.accepted + self.duplicates + self.outcomes_accepted + self.outcomes_duplicates


class Sender:
    """Sends the rows of files in batches and counts the results."""

    def __init__(self, client: Client, spec: ModelSpec, on_progress: Callable[[int, int], None]) -> None:
        """`on_progress` gets the bytes done of this run's files, and the rows sent."""
        self._client, self._spec, self._on_progress = client, spec, on_progress
        self.totals = Totals()
        self._before = 0  # bytes of the finished files
        self._newest: datetime | None = None  # newest time of the file that is sent, where it is a history

    def send(self, found: Sequence[UploadSource], plan: UploadPlan, progress: UploadProgress) -> Totals:
        """Send the rows that were not sent yet.

        Raises:
            InvalidError: a file cannot be read, or its columns do not match the spec; everything before it is sent.
            ServiceError: the service refused a request or did not answer; the next run resumes there.
        """
        for source in found:
            done = progress.of(source)
            if not done.finished:
                self._file(source, plan_of(source, plan), done, progress)
                done.finished = True
                progress.save()
                self.totals.files += 1
            self._before += source.size
            self._on_progress(self._before, self.totals.rows)
        self.totals.rejected.sort(key=lambda rejected: (rejected["file"], rejected["row"]))
        return self.totals

    def _file(self, source: UploadSource, plan: UploadPlan, done: FileProgress, progress: UploadProgress) -> None:
        self._newest, is_known = None, plan.outcomes_only
        live = time_span(self._spec.times, SystemClock().now())
        for batch in batches(source, done.rows):
            if not is_known and (times_of(plan, batch) < live.earliest).any():
                self._newest, is_known = self._newest_of(source, plan), True
            before = replace(self.totals, rejected=list(self.totals.rejected))
            for number, line in enumerate(batch.content if isinstance(batch.content, list) else (), start=batch.first):
                if line is None:
                    self._refuse(source, number, None, "the line is too long; split it")
            try:
                for body in bodies(plan, batch, first=batch.first == 1):
                    self._post(source, body)
            except InvalidError as error:
                raise InvalidError(f"file {source.name}: {error.message}", **error.facts) from error
            if batch.first == 1 and self.totals.rejected_total > before.rejected_total:
                self._require_stored(source, batch.rows, before)
            self.totals.rows += batch.rows
            done.rows = batch.first + batch.rows - 1
            progress.save()
            self._on_progress(self._before + batch.position, self.totals.rows)

    def _newest_of(self, source: UploadSource, plan: UploadPlan) -> datetime | None:
        """The newest time of a file, which is read once for it: how old its rows may be depends on it."""
        found = [days_of(times_of(plan, batch)) for batch in batches(source, 0)]
        if not found:
            return None
        days, at = np.unique(np.concatenate([days for days, _ in found]), return_inverse=True)
        counts = np.bincount(at, weights=np.concatenate([counts for _, counts in found])).astype(np.int64)
        return newest_day(days, counts, self._spec.times, SystemClock().now())

    def _require_stored(self, source: UploadSource, rows: int, before: Totals) -> None:
        """Stop at the start of a file in which no row fits, instead of filling the quarantine with it."""
        if self.totals.stored > before.stored:
            return
        first = self.totals.rejected[min(len(before.rejected), MAX_LISTED_REJECTIONS - 1)]
        name = f"{first['field']}: " if first["field"] else ""
        raise InvalidError(
            f"file {source.name}: none of its first {rows} rows was accepted; "
            f"row {first['row']}: {name}{first['reason']}",
            field=first["field"],
        )

    def _post(self, source: UploadSource, body: UploadBody) -> None:
        try:
            receipt = self._send_when_free(body)
        except ServiceError as error:
            if error.facts.get("status") != 413:
                raise
            if len(body.rows) == 1:
                self._refuse(source, body.rows[0], None, "the row is larger than the service accepts in one request")
                return
            for half in body.halves():
                for part in half:
                    self._post(source, part)
            return
        if body.kind == "events":
            self.totals.accepted += receipt["accepted"]
            self.totals.duplicates += receipt["duplicates"]
        else:
            self.totals.outcomes_accepted += receipt["accepted"]
            self.totals.outcomes_duplicates += receipt["duplicates"]
        for rejected in receipt["rejected"]:
            self._refuse(source, body.rows[rejected["line"] - 1], rejected["field"], rejected["reason"])
        self.totals.rejected_total += receipt["rejected_total"] - len(receipt["rejected"])

    def _refuse(self, source: UploadSource, row: int, name: str | None, reason: str) -> None:
        self.totals.rejected_total += 1
        if len(self.totals.rejected) < MAX_LISTED_REJECTIONS:
            self.totals.rejected.append({"file": source.name, "row": row, "field": name, "reason": reason})

    def _send_when_free(self, body: UploadBody) -> Any:
        """Post a body; while the service is busy, wait as long as it asks and try again."""
        waited = 0.0
        path = f"/api/v1/models/{quote(self._spec.model, safe='')}/{body.kind}"
        if self._newest is not None and body.kind == "events":
            path += f"?newest={quote(self._newest.isoformat())}"
        while True:
            try:
                return self._client.json("POST", path, content=body.content, headers={"Content-Type": body.media_type})
            except ServiceError as error:
                pause = float(error.facts.get("retry_after_s") or 1)
                if error.facts.get("status") != 503 or waited + pause > _MAX_BUSY_WAIT_S:
                    raise
                time.sleep(pause)
                waited += pause
