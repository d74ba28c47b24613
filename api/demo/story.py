"""The demo: the whole loop on real parts, narrated. It ends well only if the loop really closed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from api.client import Client
from api.demo.plan import DemoPlan
from api.demo.processes import run_module
from api.demo.pulse import STILL_S, read_pulse
from api.demo.spec import MODEL
from core.artifacts import file_digest
from core.errors import AppError

PAUSE_S: Final = 0.1  # between two questions
LOOK_S: Final = 5.0  # between two looks at whether anything moves
EVENT_FIELDS = (
    "event_id",
    "ts",
    "version",
    "text",
    "channel",
    "intent",
    "confidence",
    "age_band",
    "customer",
    "latency_ms",
)


class LoopNotClosedError(AppError):
    """A step of the loop did not happen; the demo has failed."""

    code = "loop_not_closed"


@dataclass
class Story:
    """State of one demo run; `folder` holds everything it makes."""

    folder: Path
    console: Console
    seed: int
    base_epochs: float | None
    facts: dict[str, Any] = field(default_factory=dict)
    still_s: float = STILL_S  # a wait in which nothing moves for this long is given up
    _step: int = 0

    # --- output ---

    def chapter(self, title: str) -> None:
        self._step += 1
        self.console.print(f"\n[bold]{self._step}. {title}[/bold]")

    def say(self, text: str) -> None:
        self.console.print(f"   {text}", markup=False, soft_wrap=True)

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise LoopNotClosedError(f"step {self._step}: {otherwise}", step=self._step)

    def bar(self, title: str, work: Callable[[Callable[[dict[str, Any]], None]], None]) -> None:
        """Run work that reports {"step", "steps", "loss"} with a progress bar."""
        columns = (
            TextColumn("   {task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=not self.console.is_terminal) as progress:
            task = progress.add_task(title, total=None, note="")

            def show(line: Mapping[str, Any]) -> None:
                loss = line.get("loss")
                note = str(line.get("phase", "")) + (f" loss {loss:.3f}" if isinstance(loss, float) else "")
                progress.update(task, total=line.get("steps"), completed=line.get("step") or 0, note=note)

            work(show)

    # --- the steps ---

    def make_first_model(self, plan: DemoPlan) -> Path:
        """Train v1 from scratch on the known intents."""
        data, base = self.folder / "v1-training.parquet", self.folder / "base-model"
        plan.training.select("text", pl.col("category").alias("label")).write_parquet(data)
        progress = self.folder / "base-progress.jsonl"
        config = {
            "run_id": "base", "task": "sequence_classification", "output_dir": str(base), "progress": str(progress),
            "train": {"path": str(data), "sha256": file_digest(data)}, "seed": self.seed, "epochs": self.base_epochs,
        }  # fmt: skip
        self.bar(
            "training v1",
            lambda show: run_module("retrain.train.demo_base", config, progress=progress, on_progress=show),
        )
        return base / "base"

    def send(self, producer: Client, events: pl.DataFrame, answers: pl.DataFrame, *, version: str, name: str) -> None:
        """Log a batch of served answers, as an application would."""
        rows = events.with_columns(
            version=pl.lit(version), intent=answers[f"{name}.label"], confidence=answers[f"{name}.confidence"].round(5)
        ).select(EVENT_FIELDS)
        answer = producer.json(
            "POST",
            f"/api/v1/models/{MODEL}/events",
            content=rows.write_ndjson(),
            headers={"content-type": "application/x-ndjson"},
        )
        self.expect(
            answer["accepted"] == rows.height, f"{rows.height - answer['accepted']} events were not accepted: {answer}"
        )

    def send_outcomes(self, producer: Client, events: pl.DataFrame) -> None:
        """The true intents, known only later."""
        rows = events.select("event_id", pl.col("category").alias("intent_true"))
        answer = producer.json(
            "POST",
            f"/api/v1/models/{MODEL}/outcomes",
            content=rows.write_ndjson(),
            headers={"content-type": "application/x-ndjson"},
        )
        self.expect(
            answer["accepted"] == rows.height,
            f"{rows.height - answer['accepted']} outcomes were not accepted: {answer}",
        )

    def wait(self, what: str, ask: Callable[[], Any], *, pause_s: float = PAUSE_S) -> Any:
        """Ask until the answer is true, for as long as the service gets on with its work."""
        looked, pulse, moved = time.monotonic(), None, time.monotonic()
        while not (answer := ask()):
            time.sleep(pause_s)
            if time.monotonic() - looked >= min(LOOK_S, self.still_s):
                looked, before, pulse = time.monotonic(), pulse, read_pulse(self.folder / "home")
                moved = moved if pulse == before else looked
                self.expect(
                    looked - moved < self.still_s,
                    f"{what} did not happen, and nothing has moved for {looked - moved:.0f} s",
                )
        return answer

    def windows(self, client: Client) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = client.json("GET", f"/api/v1/models/{MODEL}/windows")["items"]
        return items

    def closed_window(self, client: Client, number: int) -> dict[str, Any] | None:
        """The `number`th window of the model, once it is closed."""
        items = self.windows(client)
        return items[number - 1] if len(items) >= number else None

    def stream(
        self, client: Client, producer: Client, events: pl.DataFrame, answers: pl.DataFrame, *, rows: int, version: str,
        name: str, after_each: Callable[[dict[str, Any]], bool] | None = None, closed: int = 0,
    ) -> int:  # fmt: skip
        """Send a part of the traffic window by window; outcomes come one window late. Returns how many rows were sent.

        `closed`: windows that were closed before this part. `after_each` gets each closed window and stops the
        stream by returning True.
        """
        sent = 0
        for start in range(0, events.height, rows):
            part = events[start : start + rows]
            self.send(producer, part, answers[start : start + rows], version=version, name=name)
            if start:
                self.send_outcomes(producer, events[start - rows : start])
            sent += part.height
            if part.height < rows:
                break
            closed += 1
            window = self.wait("the next window", partial(self.closed_window, client, closed))
            if after_each is not None and after_each(window):
                break
        last = (sent - 1) // rows * rows
        self.send_outcomes(producer, events[last:sent])
        return sent
