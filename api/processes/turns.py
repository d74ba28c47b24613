"""Turns: the jobs of the default lane run in processes, and no model keeps the others waiting.

Evaluations run one after the other in the turn process, all other jobs beside it. An evaluation that computes for
longer than its turn goes on where it is, and another process takes the turn. The same work of the same model then goes
straight to the processes for long work, which run at a lower priority, until it has been short for a minute. A job that
uses more time or memory than it may is stopped with its process, put off, and an alert says so.
"""

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Event
from typing import Any, Final, Protocol

import reports.jobs
from api.processes import system_alarms, turn_process
from api.processes.worker import record_outcome
from core import queue
from core.jobs import JOBS as ALL_JOBS
from core.jobs import ConsiderJob, EvaluateJob, ReportJob
from core.logs import logger
from core.queue import Choice, Claimed, Retry
from monitor.site import Site

LANE: Final = "default"
SHORT: Final = (EvaluateJob.name, ConsiderJob.name)  # verdicts wait for these; all other jobs have the other processes
BACKGROUND: Final = tuple(name for name, job in ALL_JOBS.items() if job.lane == LANE and name not in SHORT)
JOBS: Final = "api.processes.worker"  # the module whose JOBS the processes run
LOOK_S: Final = 0.1  # between two looks at a process that runs a job
SPARE_AFTER: Final = 0.5  # of a turn: then the process that may have to take it over is forked
WAITS: Final = 0.5  # of a turn in CPU time: work that used less only waited, for a lock or a busy machine
LONGEST_WAIT: Final = 5.0  # turns; work that lasted longer counts as long, however little it used
TICKS: Final = os.sysconf("SC_CLK_TCK")
IDLE_S: Final = 60.0  # processes without work end after this long
SLOW_S: Final = 60.0  # after its last long run, work has become short again
COUNTED_S: Final = 0.2  # work that took longer lets others go first ...
REST: Final = 10.0  # ... for this many times as long
KNOWN: Final = 10_000  # work that is remembered
AGAIN_S: Final = 1.0
# Steps of priority by which long work gives way to verdicts: it gets a ninth of the CPU time of what competes with it.
# Its transactions need about 10 ms of CPU time, so they still end, and free SQLite's write lock, within tenths of a
# second. A process cannot get these steps back, so none that ran long work takes the turn again.
GIVES_WAY: Final = 10
END_S: Final = 2.0  # for the processes to end when the worker does
log = logger("api.processes.turns")


class _Process(Protocol):
    """What is used of a process of `multiprocessing`."""

    pid: int | None
    exitcode: int | None
    sentinel: int

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...


@dataclass(slots=True, eq=False)
class _Turn:
    """A process that runs jobs, and the job it runs. Times are on the monotonic clock."""

    process: _Process
    connection: Connection
    job: Claimed | None = None
    since: float = field(default_factory=time.monotonic)  # it runs the job, or is idle
    renewed: float = 0.0
    started: bool = False  # whether the process has opened the installation
    used_before: float = 0.0  # CPU time when the job began

    def give(self, job: Claimed) -> None:
        self.job, self.since, self.renewed = job, time.monotonic(), time.monotonic()
        self.used_before = self._cpu_s()
        with suppress(OSError):  # it has died; the next look finds out
            self.connection.send(job)

    def used_s(self) -> float:
        """CPU time of the job so far."""
        return self._cpu_s() - self.used_before

    def _cpu_s(self) -> float:
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / TICKS

    def give_way(self) -> None:
        """Let the process go on at a lower priority, with the threads that it has and will have."""
        threads = Path(f"/proc/{self.process.pid}/task")
        with suppress(OSError):  # it has ended; the next look finds out
            for thread in [int(path.name) for path in threads.iterdir()] if threads.exists() else [self.process.pid]:
                os.setpriority(os.PRIO_PROCESS, thread or 0, os.getpriority(os.PRIO_PROCESS, 0) + GIVES_WAY)

    def memory(self) -> int:
        """Bytes of the process in memory; 0 where that cannot be told."""
        try:
            pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def end(self, limit_s: float = END_S) -> None:
        """Let the process end, or kill it if it runs a job or does not end."""
        self.connection.close()
        if self.job is None:
            self.process.join(limit_s)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()


class Turns:
    """The turn process, the processes for long work, and what is known of the jobs they ran. Used by one thread."""

    def __init__(self, site: Site, *, worker: str, jobs: str = JOBS) -> None:
        self._site, self._worker, self._jobs = site, worker, jobs
        self._settings = site.settings.work
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([turn_process.__name__, jobs])
        self._turn = self._forked()
        self._spare: _Turn | None = None
        self._long: list[_Turn] = []
        self._slow: dict[str, float] = {}  # work that took longer than a turn -> when
        self._resting: dict[str, float] = {}  # work -> until when others go first

    def run(self, stop: Event) -> None:
        """Deal turns until the event is set."""
        while not stop.is_set():
            try:
                self.step()
            except Exception:
                log.exception("turns")
                stop.wait(1.0)

    def step(self) -> bool:
        """Record what has ended, stop what takes too much, and give out jobs. True if any was given out."""
        busy = [turn for turn in self._all() if turn.job is not None or not turn.started]
        pause = LOOK_S if busy else self._site.settings.queue.poll_s
        wait([turn.connection for turn in busy], timeout=pause) if busy else time.sleep(pause)
        for turn in self._all():
            self._hear(turn)
        self._look()
        return self._deal()

    def idle(self) -> bool:
        """Whether no process runs a job."""
        return all(turn.job is None for turn in self._all())

    def close(self) -> None:
        """End every process; jobs under way are taken over when their lease runs out, or by this worker's successor."""
        for turn in self._all():
            turn.end()

    def _all(self) -> list[_Turn]:
        return [self._turn, *([self._spare] if self._spare else []), *self._long]

    def _forked(self) -> _Turn:
        ours, theirs = self._context.Pipe()
        arguments = (self._site.settings, self._jobs, theirs)
        process: Any = self._context.Process(target=turn_process.serve, args=arguments, name="turn")
        process.start()
        theirs.close()
        return _Turn(process, ours)

    def _hear(self, turn: _Turn) -> None:
        """Take in what a process has sent, or that it died."""
        try:
            while turn.connection.poll():
                message = turn.connection.recv()
                if message is None:
                    turn.started, turn.since, turn.used_before = True, time.monotonic(), turn.used_s()
                elif turn.job is not None and message[0] == turn.job.id:
                    self._ended(turn, message[1])
        except (EOFError, OSError):
            turn.process.join(END_S)
            code = turn.process.exitcode
            how = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with status {code}"
            self._stop(turn, f"its process {how}", "look at the log of the service and at the machine's memory")

    def _ended(self, turn: _Turn, outcome: Retry | str | None) -> None:
        assert turn.job is not None
        job, turn.job = turn.job, None
        now, used = time.monotonic(), turn.used_s()
        if self._is_long(now - turn.since, used):
            self._remember(self._slow, job.work, now)
        elif now - turn.since < self._settings.turn_s / 2 and now - self._slow.get(job.work, now) > SLOW_S:
            self._slow.pop(job.work, None)
        if used > COUNTED_S:
            self._remember(self._resting, job.work, now + REST * used)
        turn.since = now
        record_outcome(self._site, job, outcome, worker=self._worker)
        if turn.memory() > self._settings.memory_mb << 19:  # half: what it keeps counts for the next job
            self._drop(turn)

    def _is_long(self, took_s: float, used_s: float) -> bool:
        turn_s = self._settings.turn_s
        return took_s > turn_s and (used_s > WAITS * turn_s or took_s > LONGEST_WAIT * turn_s)

    def _remember(self, known: dict[str, float], work: str, at: float) -> None:
        known.pop(work, None)
        known[work] = at
        if len(known) > KNOWN:
            known.pop(next(iter(known)))

    def _look(self) -> None:
        """Stop jobs that take too much, hand the turn on, renew leases, end processes without work."""
        now, limits = time.monotonic(), self._settings
        for turn in self._all():
            if turn.job is None:
                if turn is not self._turn and turn.started and now - turn.since > IDLE_S:
                    self._drop(turn)
                continue
            self._renew(turn, now)
            if turn.memory() > limits.memory_mb << 20:
                self._stop(
                    turn, f"it used more than {limits.memory_mb:,} MiB of memory", _lower("ASSAY_WORK__MEMORY_MB")
                )
            elif turn.started and now - turn.since > limits.limit_s:
                self._stop(turn, f"it ran for more than {limits.limit_s:g} s", _lower("ASSAY_WORK__LIMIT_S"))
        turn = self._turn
        if turn.job is None or not turn.started:
            return
        ran, used = now - turn.since, turn.used_s()
        if self._spare is None and self._is_long(ran / SPARE_AFTER, used / SPARE_AFTER):
            self._spare = self._forked()
        if not self._is_long(ran, used):  # who waits for a core or a lock would have others wait for the same
            return
        if any(other.job is None for other in self._long) or len(self._long) < limits.long_processes:
            self._hand_on()
            self._set_aside(turn)
            if len(self._long) > limits.long_processes:
                self._drop(next(other for other in self._long if other.job is None))
        else:
            again = Retry(self._site.clock.now(), "waits for a process for long work")
            job, turn.job = turn.job, None
            self._remember(self._slow, job.work, now)
            turn.process.kill()
            self._hand_on()
            turn.end()
            record_outcome(self._site, job, again, worker=self._worker)

    def _hand_on(self) -> None:
        """Let another process take the turn."""
        self._turn, self._spare = self._spare or self._forked(), None

    def _set_aside(self, turn: _Turn) -> None:
        """Make a process one for long work."""
        turn.give_way()
        self._long.append(turn)

    def _drop(self, turn: _Turn) -> None:
        """End a process, and put another in its place if it is the one whose turn it is."""
        if turn in self._long:
            self._long.remove(turn)
        elif turn is self._spare:
            self._spare = None
        else:
            self._hand_on()
        turn.end()

    def _stop(self, turn: _Turn, why: str, fix: str) -> None:
        """Stop a job with its process, put the job off and say so."""
        job = turn.job
        turn.process.kill()
        self._drop(turn)
        if job is None:
            log.warning("a process without a job ended", reason=why)
            time.sleep(AGAIN_S)  # another takes its place, and may end as this one did
            return
        log.warning("job stopped", job=job.name, id=str(job.id), model=job.payload.get("model"), reason=why)
        self._remember(self._slow, job.work, time.monotonic())
        with self._site.database.write() as db:
            now = self._site.clock.now()
            at = queue.put_off(db, job, f"stopped: {why}", worker=self._worker, now=now)
            if at is None and job.name == ReportJob.name:
                reports.jobs.given_up(self._site, db, ReportJob.model_validate(job.payload), f"stopped, {why}; {fix}")
            system_alarms.job_stopped(self._site, db, job, why, fix, at)

    def _renew(self, turn: _Turn, now: float) -> None:
        lease_s = self._site.settings.queue.lease_s
        if turn.job is None or now - turn.renewed < lease_s / 3:
            return
        turn.renewed = now
        at = self._site.clock.now()
        with self._site.database.write() as db:
            if not queue.renew(db, turn.job.id, worker=self._worker, now=at, lease_s=lease_s):
                log.warning("lease lost", job=turn.job.name, id=str(turn.job.id))

    def _deal(self) -> bool:
        """Give a job to each process that is free; whether any was given."""
        given = False
        now = time.monotonic()
        self._resting = {work: until for work, until in self._resting.items() if until > now}
        if self._turn.job is None and self._turn.started:
            job = self._claim(Choice(SHORT, but=self._slow.keys() | self._resting.keys()))
            if job is None and self._resting:
                job = self._claim(Choice(SHORT, but=self._slow.keys()))
            if job is not None:
                self._turn.give(job)
                given = True
        idle = [turn for turn in self._long if turn.job is None]
        while idle or len(self._long) < self._settings.long_processes:
            job = self._claim_long()
            if job is None:
                break
            if not idle:
                self._set_aside(self._forked())
            (idle.pop() if idle else self._long[-1]).give(job)
            given = True
        return given

    def _claim_long(self) -> Claimed | None:
        """Work that takes longer than a turn, or that nobody waits for by the second: one job of a model at a time."""
        jobs = [turn.job for turn in self._long if turn.job is not None]
        busy = {str(job.payload["model"]) for job in jobs if job.payload.get("model")}
        rests = self._resting.keys()
        job = self._claim(Choice(BACKGROUND, works=self._slow.keys(), but=rests, busy=busy))
        if job is None and rests:
            job = self._claim(Choice(BACKGROUND, works=self._slow.keys(), busy=busy))
        return job

    def _claim(self, choice: Choice) -> Claimed | None:
        now = self._site.clock.now()
        with self._site.database.read() as db:  # mostly there is none, and SQLite has one lock for all who write
            if not queue.is_any_runnable(db, now=now, lanes=(LANE,), choice=choice):
                return None
        with self._site.database.write() as db:
            return queue.claim(
                db, worker=self._worker, now=self._site.clock.now(), lease_s=self._site.settings.queue.lease_s,
                lanes=(LANE,), choice=choice,
            )  # fmt: skip


def _lower(setting: str) -> str:
    return f"ask for less (fewer columns, shorter windows or texts, a shorter period), or raise {setting}"
