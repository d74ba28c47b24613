"""A background thread repeats its step, outlives errors, and is gone when it was stopped."""

import threading
import time

from core.background import BackgroundThread


class Counting(BackgroundThread):
    """Counts its steps; the first one fails, and `enough` is set at the third."""

    def __init__(self) -> None:
        super().__init__("counting", every_s=0.001)
        self.steps, self.enough = 0, threading.Event()

    def step(self) -> None:
        self.steps += 1
        if self.steps == 3:
            self.enough.set()
        if self.steps == 1:
            raise ZeroDivisionError


class Long(BackgroundThread):
    """One step that lasts until the thread is to stop."""

    def __init__(self) -> None:
        super().__init__("long", every_s=0.001)
        self.begun, self.seen = threading.Event(), list[bool]()

    def step(self) -> None:
        self.seen.append(self.stopping)
        self.begun.set()
        self.pause(600.0)
        self.seen.append(self.stopping)


def alive(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def test_a_step_that_fails_is_followed_by_more_until_the_thread_is_stopped() -> None:
    counting = Counting()
    counting.start()
    assert counting.enough.wait(60)
    counting.stop()
    assert not alive("counting")
    steps = counting.steps
    time.sleep(0.02)
    assert counting.steps == steps


def test_stopping_ends_a_pause_within_a_step() -> None:
    long = Long()
    long.start()
    assert long.begun.wait(60)
    long.stop()
    assert long.seen == [False, True]
    assert not alive("long")
