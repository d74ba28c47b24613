"""Energy and CO2e of a process, as codecarbon estimates them without a network."""

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from codecarbon import OfflineEmissionsTracker
from codecarbon.core.cpu import is_rapl_available
from codecarbon.input import DataSource
from codecarbon.output_methods.base_output import BaseOutput
from codecarbon.output_methods.emissions_data import EmissionsData

from retrain.train.progress import write_json
from retrain.train.used import USED_FILE, Used, read_used

SAMPLE_S: Final = 5.0  # between two readings of power
NO_COUNTRY: Final = "ASSAY_TRAIN__COUNTRY is not set"


class _Totals(BaseOutput):
    """Keeps the newest totals that the library hands out."""

    def __init__(self) -> None:
        self.newest: EmissionsData | None = None

    def out(self, total: EmissionsData, delta: EmissionsData) -> None:
        self.newest = total


class Meter:
    """Measures this process until its block ends, and adds what earlier, killed attempts in the same folder used.

    What was used lies in the folder after each reading, so that a kill loses a few seconds at most. The library's own
    settings, from a file or the environment, change nothing: every one that reaches out or writes is given here.
    """

    def __init__(self, folder: Path, country: str | None, *, cards: int = 1, keeps: bool = True) -> None:
        """Of the processes of a run on several cards, one keeps: it counts hours of each card, and the cards' energy.

        The other processes' share of the processors is not in its estimate.
        """
        self.path, self.country, self.cards, self.keeps = folder / USED_FILE, country, cards, keeps
        self.before = read_used(folder)
        self.trained_s = self.before.train_seconds  # of all trainings and attempts so far
        self.began, self.kept_at = time.monotonic(), 0.0
        self.kept: Used | None = None
        self._totals = _Totals()
        known = country is not None and country in DataSource().get_global_energy_mix_data()  # type: ignore[no-untyped-call]  # no annotations
        self.reason = None if known else NO_COUNTRY if country is None else f"codecarbon has no figures for {country}"
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
        self._tracker = OfflineEmissionsTracker(
            country_iso_code=country if known else "USA", region=None, cloud_provider=None, cloud_region=None,
            country_2letter_iso_code=None, allow_multiple_runs=True, output_methods=[], output_handlers=[self._totals],
            emissions_endpoint="", electricitymaps_api_token="", experiment_name="assay", api_call_interval=-1,
            measure_power_secs=SAMPLE_S, tracking_mode="process", log_level="critical", logger_preamble="",
            force_carbon_intensity_g_co2e_kwh=None, force_cpu_power=None, force_ram_power=None,
            force_mode_cpu_load=False, pue=1.0, wue=0.0,
        )  # fmt: skip
        self._tracker.start()

    def read(self, train_seconds: float = 0.0) -> Used:
        """All that was used so far; `train_seconds` counts all attempts."""
        self._tracker.flush()
        found = self._totals.newest
        seconds = self.before.seconds + (time.monotonic() - self.began) * self.cards
        if found is None or found.energy_consumed is None:
            return Used(seconds, train_seconds, None, None, "", "codecarbon could measure nothing on this machine")
        kwh = (self.before.kwh or 0.0) + float(found.energy_consumed)
        co2e = None if self.reason else (self.before.co2e_kg or 0.0) + float(found.emissions)
        return Used(seconds, train_seconds, kwh, co2e, _method(found), self.reason)

    def keep(self, train_seconds: float, *, every_s: float = 0.0) -> Used:
        """Read, and write it into the folder; within `every_s` of the last time, what was read then."""
        self.trained_s = train_seconds
        if self.kept is None or time.monotonic() - self.kept_at >= every_s:
            self.kept, self.kept_at = self.read(train_seconds), time.monotonic()
            if self.keeps:
                write_json(self.path, self.kept.record())
        return replace(self.kept, train_seconds=train_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tracker.stop()


def _method(found: EmissionsData) -> str:
    """How power was found: by the counters that the machine shows, or else by models of the library."""
    cpu = "its energy counters (RAPL)" if is_rapl_available() else f"load and the power of {found.cpu_model}"
    gpu = f"NVML of {found.gpu_model}" if found.gpu_model else "none"
    return f"codecarbon {found.codecarbon_version}, offline: CPU by {cpu}; GPU by {gpu}; memory by its size"
