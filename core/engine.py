"""Fan-out: independent calls, run in this process, in processes of this machine, or on a Ray cluster.

joblib does the work. Here are only the choice of its backend, the order of results, a bound on what is held at one
time, and errors that name the call. A call is a function of a module with small arguments: names of files and bounds,
not rows. What comes back is the same whichever engine ran it.
"""

import logging
import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from core.errors import AppError, BusyError, InvalidError
from core.process import CHECKOUT
from core.settings import EngineSettings

if TYPE_CHECKING:
    from joblib import Parallel
    from ray.job_config import JobConfig

R = TypeVar("R")

HERE: Final = EngineSettings(jobs=1)  # for work that is not worth another process
AHEAD: Final = 4  # calls for each job whose results are held until the caller has taken them
IDLE_S: Final = 60  # processes without work end after this long
RETRY_AFTER_S: Final = 30
KNOCK_S: Final = 5.0
# One connection to a cluster a process: Ray keeps it in a global of its own.
_CONNECTED: Final = threading.Lock()


class WorkersLostError(BusyError):
    """A worker process was killed; nothing of the calls under way was kept, and they may be repeated."""

    code = "workers_lost"


class ClusterUnreachableError(BusyError):
    code = "cluster_unreachable"


class CallFailedError(RuntimeError):
    """A call raised something that no user can act on, told in words: its own exception may not cross processes."""


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """`name`: what this piece of work is called in errors."""

    name: str
    function: Callable[..., R]
    arguments: tuple[Any, ...]


def check(engine: EngineSettings) -> None:
    """Raises InvalidError where the engine is one this installation lacks."""
    if engine.kind == "ray" and find_spec("ray") is None:
        raise InvalidError(
            "engine.kind is ray and the package is not installed: pip install 'ray', or set ASSAY_ENGINE__KIND=loky",
            field="engine.kind", value="ray",
        )  # fmt: skip


def run(engine: EngineSettings, calls: Iterable[Call[R]]) -> Iterator[R]:
    """Results in the order of the calls, as the caller takes them; `jobs` calls are under way at one time.

    Calls are taken from the iterable as they are needed. With one job all of it happens in this process.

    Raises:
        AppError: what the first call, in order, that raised one raised; its note names the call.
        CallFailedError: the first call, in order, that failed raised anything else.
        WorkersLostError: a worker process ended before its call did.
        ClusterUnreachableError: no Ray cluster answers at the address.
    """
    if engine.jobs == 1:
        for call in calls:
            found: R | _Failure = _attempt(call)
            yield _kept(found)
        return
    with connected(engine) as jobs, _parallel(engine, jobs) as parallel:
        waiting = iter(calls)
        while batch := list(islice(waiting, AHEAD * jobs)):
            for result in _done(engine, parallel, batch):
                yield _kept(result)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


def _attempt(call: Call[R]) -> R | _Failure:
    """Run a call wherever it was sent; an error comes back as a result, so that no other call is cut off by it."""
    try:
        return call.function(*call.arguments)
    except AppError as error:
        error.add_note(f"in {call.name}")
        return _Failure(error)
    except Exception as error:  # noqa: BLE001 - raised again where the results are taken
        told = CallFailedError(f"{call.name}: {type(error).__name__}: {error}")
        told.add_note("".join(traceback.format_exception(error)))
        return _Failure(told)


def _kept(result: R | _Failure) -> R:
    if isinstance(result, _Failure):
        raise result.error
    return result


def _done(engine: EngineSettings, parallel: "Parallel", batch: Sequence[Call[R]]) -> list[R | _Failure]:
    from joblib import delayed

    lost: tuple[type[Exception], ...] = (BrokenExecutor,)
    if engine.kind == "ray":
        from ray.exceptions import RayError

        lost = (RayError,)
    try:
        found: list[R | _Failure] = parallel(delayed(_attempt)(call) for call in batch)
    except lost as error:
        raise WorkersLostError(
            f"a worker process ended during {batch[0].name} or one of the {len(batch) - 1} calls after it: killed, or "
            "out of memory. The work is repeated; if it ends again, lower ASSAY_ENGINE__JOBS",
            retry_after_s=RETRY_AFTER_S, first=batch[0].name,
        ) from error  # fmt: skip
    return found


def _parallel(engine: EngineSettings, jobs: int) -> "Parallel":
    from joblib import Parallel

    if engine.kind == "ray":
        # Without a CPU asked for each, Ray may put all of them on one node.
        options: dict[str, Any] = {"ray_remote_args": {"num_cpus": 1, "scheduling_strategy": "SPREAD"}}
        threads = 1
    else:
        options = {"idle_worker_timeout": IDLE_S}
        threads = max(1, (os.cpu_count() or 1) // jobs)
    # Arguments are small: no array of them is worth a file in shared memory, which a killed worker would leave behind.
    return Parallel(
        n_jobs=jobs, backend=engine.kind, batch_size=1, max_nbytes=None, initializer=_begin, initargs=(threads,),
        **options,
    )  # fmt: skip


def _begin(threads: int) -> None:
    """In a new worker process, before polars counts the cores: take a share of them and not all."""
    os.environ["POLARS_MAX_THREADS"] = str(threads)


@contextmanager
def connected(engine: EngineSettings) -> Iterator[int]:
    """Be connected to the cluster where there is one; gives the jobs that can run at one time."""
    if engine.kind == "loky":
        yield engine.jobs
        return
    check(engine)
    import ray
    from ray.util.joblib import register_ray

    with _CONNECTED:
        address = engine.ray_address or "auto"
        try:
            _knock(engine.ray_address)
            ray.init(
                address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False,
                job_config=_job_config(),
            )  # fmt: skip
        except (OSError, ValueError, RuntimeError, ray.exceptions.RaySystemError) as error:
            raise ClusterUnreachableError(
                f"engine.ray_address {address!r}: no Ray cluster answers: {str(error).splitlines()[0][:200]}. "
                "Start one with `ray start --head`, or set ASSAY_ENGINE__KIND=loky",
                retry_after_s=RETRY_AFTER_S, field="engine.ray_address",
            ) from error  # fmt: skip
        try:
            register_ray()  # type: ignore[no-untyped-call]  # ray has no types here
            cpus = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]  # the same
            yield max(1, min(engine.jobs, cpus))
        finally:
            ray.shutdown()


def _job_config() -> "JobConfig":
    """Where the nodes find Assay. Ray would put this process's working directory before everything else."""
    from ray.job_config import JobConfig

    config = JobConfig(_py_driver_sys_path=list(CHECKOUT))
    config._runtime_env_has_working_dir = lambda: True  # type: ignore[method-assign]
    return config


def _knock(address: str | None) -> None:
    """Raises OSError at once where nobody listens: Ray itself tries for two minutes, and everything else waits."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
