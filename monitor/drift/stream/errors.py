"""A stream of errors that Page-Hinkley and ADWIN watch, with a stated run length between false alarms."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import IntegrityFailureError, InvalidError
from monitor.drift.stream.adwin import Adwin
from monitor.drift.stream.page_hinkley import PageHinkley

FORMAT: Final = "assay-error-stream/1"
MIN_RISE: Final = 0.02  # Page-Hinkley ignores a smaller rise of the mean error
STEPS: Final = 255  # errors are stored as integer multiples of 1/255
MIN_LABELS: Final = 30  # labels before Page-Hinkley may fire, and the fewest that a reported mean covers
MAX_ERRORS: Final = 20_000  # at this number of errors both detectors restart on the newest half
_Z95: Final = 1.959963984540054
_ERRORS: Final = [step / STEPS for step in range(STEPS + 1)]


@dataclass(frozen=True, slots=True)
class StreamAlarm:
    """A detector that fired, its statistic, the number of labels since the reference, and the newest mean error.

    `statistic` is the value with which the detector fired, in the unit of `ErrorStream.statistics`; afterwards it
    starts again. That of ADWIN is `now`: the mean of its whole window still holds mostly earlier errors.
    `now` covers the newest `rows` labels, since errors most likely began to rise: of all runs of labels that end now,
    the one whose mean lies the most standard errors above the reference's.
    """

    detector: str
    statistic: float
    at: int
    now: float
    rows: int


class ErrorStream:
    """Page-Hinkley (a rise of the mean) and ADWIN (any change, if it is a rise) over errors in 0..1.

    Without a change the expected number of labels until either fires is at least `run_length`: each detector is set to
    twice that. Page-Hinkley's threshold is ln(2 run_length) / t, where t > 0 is the root of
    E exp(t (X - mean - 0.02)) = 1 for an error X of 0 or 1 with the upper end of the 95 % interval of the reference's
    error rate. Wald's bound then gives the run length, and no other error in 0..1 with the same mean has a smaller
    root. ADWIN's delta is 1 / (2 run_length), which bounds its chance of a false alarm at each label. After an alarm
    the detector restarts.

    Source: Page (1954); Lorden (1971) for the bound; Bifet and Gavaldà (2007) as implemented by river.
    """

    def __init__(self, reference: Sequence[float], *, run_length: float) -> None:
        """
        Args:
            reference: errors of labelled reference rows in order, each 0..1; the detectors start on them.
            run_length: labels between false alarms, at least 100.

        Raises:
            InvalidError: no reference, an error outside 0..1, or a run length below 100.
        """
        if run_length < 100:
            raise InvalidError(f"run_length is {run_length}; give at least 100 labels", run_length=run_length)
        if not len(reference):
            raise InvalidError("an error stream needs the errors of labelled reference rows", rows=0)
        start = _steps(reference)[-MAX_ERRORS // 2 :]
        self.run_length = run_length
        self.mean = float(start.mean()) / STEPS
        self.threshold = _threshold(self.mean, len(start), run_length)
        self.labels = 0  # since the reference
        self._kept = bytearray(start.tobytes())
        self._begin()

    def update(self, error: float) -> list[StreamAlarm]:
        """Add one error; see `extend`."""
        return self.extend([error])

    def extend(self, errors: Sequence[float]) -> list[StreamAlarm]:
        """Add errors in order.

        Args:
            errors: each 0..1.

        Returns:
            An alarm for each detector that fired, in order.

        Raises:
            InvalidError: an error lies outside 0..1; none was added.
        """
        steps = _steps(errors).tolist()
        fired: list[StreamAlarm] = []
        while steps:
            room = MAX_ERRORS - len(self._kept)
            part, steps = steps[:room], steps[room:]
            fired += self._feed(part)
            if len(self._kept) >= MAX_ERRORS:
                self._kept = self._kept[-MAX_ERRORS // 2 :]
                self._begin()
        return fired

    @property
    def statistic(self) -> float:
        """Page-Hinkley's statistic: the rise above its lowest sum. It fires above `threshold`."""
        return self._rise.statistic

    @property
    def current(self) -> float:
        """Mean error of ADWIN's window: all labels since the last change that it detected."""
        return self._window.mean

    @property
    def statistics(self) -> dict[str, float]:
        """The statistic of each detector: Page-Hinkley's sum of errors, and the mean error of ADWIN's window."""
        return {"page_hinkley": self.statistic, "adwin": self.current}

    def first(self) -> list[float]:
        """The errors of the reference that the stream still holds, rounded to 1/255: none after the first restart."""
        return [step / STEPS for step in self._kept[: max(0, len(self._kept) - self.labels)]]

    def state(self) -> dict[str, Any]:
        """Everything `from_state` needs, as JSON; at most 20,000 errors."""
        return {
            "format": FORMAT, "run_length": self.run_length, "mean": self.mean, "threshold": self.threshold,
            "labels": self.labels, "kept": base64.b64encode(bytes(self._kept)).decode(),
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "ErrorStream":
        """Restore a stream. The same errors lead to the same alarms as in the original.

        Raises:
            IntegrityFailureError: the state is not of this format.
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
        """Start the detectors again on the errors that are kept."""
        self._rise = PageHinkley(least=MIN_LABELS, ignored=MIN_RISE, threshold=self.threshold)
        self._window = Adwin(delta=1.0 / (2.0 * self.run_length))
        errors = [_ERRORS[step] for step in self._kept]
        self._rise.extend(errors)
        self._window.extend(errors)

    def _feed(self, steps: Sequence[int]) -> list[StreamAlarm]:
        errors = [_ERRORS[step] for step in steps]
        fired: list[tuple[int, float | None]] = [*self._rise.extend(errors)]
        fired += [(at, None) for at, rose in self._window.extend(errors) if rose]
        found: list[StreamAlarm] = []
        done = 0
        for at, statistic in sorted(fired, key=lambda one: one[0]):  # at the same label Page-Hinkley comes first
            self._keep(steps[done : at + 1])
            done = at + 1
            now, rows = self._newest()
            name = "adwin" if statistic is None else "page_hinkley"
            found.append(StreamAlarm(name, now if statistic is None else statistic, self.labels, now, rows))
        self._keep(steps[done:])
        return found

    def _keep(self, steps: Sequence[int]) -> None:
        self._kept.extend(steps)
        self.labels += len(steps)

    def _newest(self) -> tuple[float, int]:
        """Mean error of the labels since errors most likely rose, and the number of these labels.

        ADWIN's own mean covers its whole window. Right after an alarm, this window still holds mostly earlier errors.
        """
        since = min(max(self.labels, MIN_LABELS), len(self._kept))
        newest = np.frombuffer(self._kept, dtype=np.uint8)[::-1][:since] / STEPS
        rows = np.arange(1, since + 1)
        excess = (np.cumsum(newest) - rows * self.mean) / np.sqrt(rows)
        fewest = min(MIN_LABELS, since)
        length = fewest + int(np.argmax(excess[fewest - 1 :]))
        return float(newest[:length].mean()), length


def _steps(errors: Sequence[float]) -> NDArray[np.uint8]:
    values = np.asarray(errors, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise InvalidError("errors of an error stream lie in 0..1", lowest=float(values.min(initial=0)))
    return np.rint(values * STEPS).astype(np.uint8)


def _threshold(mean: float, rows: int, run_length: float) -> float:
    """ln(2 run_length) / t, where t is the root of p exp(t (1 - p - d)) + (1 - p) exp(-t (p + d)) = 1, d = MIN_RISE."""
    p = min(max(_upper_end(round(mean * rows), rows), 1e-4), 1.0 - 2.0 * MIN_RISE)

    def excess(t: float) -> float:
        return p * exp(t * (1.0 - p - MIN_RISE)) + (1.0 - p) * exp(-t * (p + MIN_RISE)) - 1.0

    # At the upper end of the bracket the first term alone equals e. Halving it 100 times ends at neighbouring numbers.
    low, high = 1e-6, (1.0 - log(p)) / (1.0 - p - MIN_RISE)
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (middle, high) if excess(middle) < 0.0 else (low, middle)
    return log(2.0 * run_length) / ((low + high) / 2.0)


def _upper_end(wrong: int, rows: int) -> float:
    """The upper end of Wilson's 95 % interval of a share, as scipy.stats.binomtest gives it; source: Wilson (1927)."""
    share, z = wrong / rows, _Z95
    centre = (2.0 * rows * share + z**2) / (2.0 * (rows + z**2))
    half = z / (2.0 * (rows + z**2)) * sqrt(4.0 * rows * share * (1.0 - share) + z**2)
    return 1.0 if wrong == rows else centre + half
