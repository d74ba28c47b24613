"""An error stream under Page-Hinkley and ADWIN, at a stated run length."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final

import numpy as np

from core.errors import IntegrityFailureError, InvalidError

FORMAT: Final = "assay-error-stream/1"
FLOOR: Final = 0.02  # a rise of the mean error by less is not what Page-Hinkley looks for
GRID: Final = 255  # errors are kept as whole parts of 255
FEWEST: Final = 30  # labels before Page-Hinkley may fire, and of which a mean is told
KEPT: Final = 20_000  # at so many errors both detectors start again on the newest half


@dataclass(frozen=True, slots=True)
class Change:
    """A detector that fired: after how many labels since the reference, and the mean error of the newest labels.

    `rows`: how many those are. Of all stretches up to now, it is the one whose mean lies most standard errors above the
    reference's, where errors most likely began to rise.
    """

    detector: str
    at: int
    now: float
    rows: int


class ErrorStream:
    """Page-Hinkley (a rise of the mean) and ADWIN (any change that is a rise) over errors of 0..1.

    In control the expected number of labels until either fires is at least `run_length`: each detector gets twice that.
    Page-Hinkley's threshold is ln(2 run_length) / t, t > 0 the root of E exp(t (X - mean - 0.02)) = 1 for a yes-or-no
    error with the reference's error rate, upper end of its 95 % interval; Wald's bound then gives the run length, and
    no other error of the same mean in 0..1 has a smaller root. ADWIN's delta is 1 / (2 run_length), which bounds its
    chance of a false alarm at each label. After an alarm the detector starts anew.

    Source: Page (1954); Lorden (1971) for the bound; Bifet and Gavalda (2007); both as implemented by river.
    """

    def __init__(self, reference: Sequence[float], *, run_length: float) -> None:
        """
        Args:
            reference: errors of labelled reference rows in order, each 0..1; the detectors begin with them.
            run_length: labels, at least 100.

        Raises:
            InvalidError: no reference, an error outside 0..1, or a run length under 100.
        """
        if run_length < 100:
            raise InvalidError(f"run_length is {run_length}; give at least 100 labels", run_length=run_length)
        if not len(reference):
            raise InvalidError("an error stream needs the errors of labelled reference rows", rows=0)
        start = _parts(reference)[-KEPT // 2 :]
        self.run_length = run_length
        self.mean = float(start.mean()) / GRID
        self.threshold = _threshold(self.mean, len(start), run_length)
        self.labels = 0  # since the reference
        self._kept = bytearray(start.tobytes())
        self._begin()

    def update(self, error: float) -> list[Change]:
        """Take one error; the detectors that fired."""
        part = int(_parts([error])[0])
        self.labels += 1
        self._kept.append(part)
        fired = self._feed(part)
        if len(self._kept) >= KEPT:
            self._kept = self._kept[-KEPT // 2 :]
            self._begin()
        return fired

    @property
    def statistic(self) -> float:
        """Page-Hinkley's rise above its lowest sum, to be compared with `threshold`."""
        return float(self._rise._sum_increase - self._rise._min_increase)

    @property
    def current(self) -> float:
        """Mean error of ADWIN's window: of all labels since the last change it saw."""
        return float(self._window.estimation)

    def first(self) -> list[float]:
        """The reference's errors it began with, as it keeps them: until 20,000 errors are together."""
        return [part / GRID for part in self._kept[: max(0, len(self._kept) - self.labels)]]

    def state(self) -> dict[str, Any]:
        """Everything `from_state` needs, as JSON; at most 20,000 errors."""
        return {
            "format": FORMAT, "run_length": self.run_length, "mean": self.mean, "threshold": self.threshold,
            "labels": self.labels, "kept": base64.b64encode(bytes(self._kept)).decode(),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ErrorStream":
        """The stream as it was: the same errors give the same alarms from here on.

        Raises:
            IntegrityFailureError: not a state of this format.
        """
        try:
            if state["format"] != FORMAT:
                raise ValueError(f"format {state['format']!r}, {FORMAT!r} expected")
            stream = cls.__new__(cls)
            stream.run_length, stream.mean = float(state["run_length"]), float(state["mean"])
            stream.threshold, stream.labels = float(state["threshold"]), int(state["labels"])
            stream._kept = bytearray(base64.b64decode(state["kept"], validate=True))
        except (KeyError, ValueError, TypeError) as error:
            raise IntegrityFailureError(f"not the state of an error stream: {error}", format=FORMAT) from error
        stream._begin()
        return stream

    def _begin(self) -> None:
        from river.drift import ADWIN, PageHinkley

        self._rise: Any = PageHinkley(min_instances=FEWEST, delta=FLOOR, threshold=self.threshold, alpha=1.0, mode="up")
        window: Any = ADWIN  # untyped
        self._window = window(delta=1.0 / (2.0 * self.run_length))
        for part in self._kept:
            self._feed(part)

    def _feed(self, part: int) -> list[Change]:
        error, before = part / GRID, self.current
        self._rise.update(error)
        self._window.update(error)
        found = []
        if self._rise.drift_detected:
            found.append("page_hinkley")
        if self._window.drift_detected and self.current > before:
            found.append("adwin")
        return [Change(detector, self.labels, *self._newest()) for detector in found]

    def _newest(self) -> tuple[float, int]:
        """Mean error of the labels since errors most likely rose, and how many they are.

        ADWIN's own mean is of its whole window, which right after an alarm still holds most of what came before.
        """
        since = min(max(self.labels, FEWEST), len(self._kept))
        newest = np.frombuffer(self._kept, dtype=np.uint8)[::-1][:since] / GRID
        rows = np.arange(1, since + 1)
        excess = (np.cumsum(newest) - rows * self.mean) / np.sqrt(rows)
        fewest = min(FEWEST, since)
        at = fewest + int(np.argmax(excess[fewest - 1 :]))
        return float(newest[:at].mean()), at


def _parts(errors: Sequence[float]) -> Any:
    values = np.asarray(errors, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise InvalidError("errors of an error stream lie in 0..1", lowest=float(values.min(initial=0)))
    return np.rint(values * GRID).astype(np.uint8)


def _threshold(mean: float, rows: int, run_length: float) -> float:
    """ln(2 run_length) over the root of p exp(t (1 - p - floor)) + (1 - p) exp(-t (p + floor)) = 1."""
    from scipy.optimize import brentq
    from scipy.stats import binomtest

    high = float(binomtest(round(mean * rows), rows).proportion_ci(0.95, method="wilson").high)
    p = min(max(high, 1e-4), 1.0 - 2.0 * FLOOR)

    def excess(t: float) -> float:
        return float(p * np.exp(t * (1.0 - p - FLOOR)) + (1.0 - p) * np.exp(-t * (p + FLOOR)) - 1.0)

    # At the upper end the first term alone is e.
    root = float(brentq(excess, 1e-6, (1.0 - log(p)) / (1.0 - p - FLOOR)))
    return log(2.0 * run_length) / root
