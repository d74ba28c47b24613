"""Coverage-guided fuzzing of one parser, each input within a second of CPU and half a gigabyte."""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import atheris
import psutil

MAX_S: Final = 1.0
MAX_GROWTH_MB: Final = 500
MAX_BYTES: Final = 128 << 10  # of an input; larger ones take longer to make than they find


class TooCostlyError(Exception):
    """An input that took too long or too much memory; the fuzzer keeps it as a file."""


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def bounded(read: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """The reader, with an error for an input that costs more than it may.

    The fuzzer itself grows by some 15 KB an input, so an input that moves the peak is charged from what the process
    held before it; one that does not stays below the peak that earlier ones were charged for.
    """
    process = psutil.Process()

    def one(data: bytes) -> None:
        peak, held = _peak_mb(), process.memory_info().rss >> 20
        began = time.process_time()
        read(data)
        took, grown = time.process_time() - began, _peak_mb() - held if _peak_mb() > peak else 0
        if took > MAX_S or grown > MAX_GROWTH_MB:
            raise TooCostlyError(f"{took:.1f} s of CPU, {grown} MB more than before it")

    return one


def fuzz(read: Callable[[bytes], object], seeds: Mapping[str, bytes]) -> None:
    """Run until the time is up, or an input is found that raises or costs too much.

    The command line takes `--minutes`; everything else goes to libFuzzer.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1.0)
    own, others = parser.parse_known_args()
    with TemporaryDirectory(prefix="assay-fuzz-") as folder:
        for name, body in seeds.items():
            (Path(folder) / name).write_bytes(body)
        options = [f"-max_total_time={own.minutes * 60:.0f}", f"-max_len={MAX_BYTES}", "-timeout=30", "-rss_limit_mb=0"]
        atheris.Setup([sys.argv[0], *options, *others, folder], bounded(read))
        atheris.Fuzz()
