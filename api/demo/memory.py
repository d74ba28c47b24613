"""Peak memory of this process and everything it started, sampled while the demo runs."""

import threading
from types import TracebackType
from typing import Final, Self

import psutil

EVERY_S: Final = 0.5


class PeakMemory:
    """`with PeakMemory() as memory: ...` then `memory.peak_mb`: the largest sum of resident sets, in 10**6 bytes.

    Pages that processes share are counted once for each of them, so the figure is an upper bound.
    """

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        root = psutil.Process()
        while not self._done.wait(EVERY_S):
            total = 0
            for process in [root, *root.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:  # it ended between listing and looking
                    continue
            self.peak_mb = max(self.peak_mb, total / 1e6)
