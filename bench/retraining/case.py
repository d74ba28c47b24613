"""What a case of `bench/retrain.py` is: a name, what it needs, and a function that appends its lines."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.load.results import write_lines


@dataclass(frozen=True)
class Options:
    """What the command line asked for; `dry_run` means tiny shapes, for a look at whether the case works."""

    data: Path  # folder of the data sets
    out: Path  # file of JSON lines that the results are appended to
    dry_run: bool = False
    threads: int = 2
    seed: int = 0
    arms: tuple[str, ...] = ()  # of the GPU case; without any, those that the results name


@dataclass(frozen=True)
class Case:
    name: str
    about: str
    needs: Literal["cpu", "cuda"]
    run: Callable[[Options], None]


def record(
    options: Options,
    case: str,
    found: dict[str, tuple[float, str]],
    *,
    peer: str | None = None,
    beside: dict[str, float] | None = None,
    **facts: Any,
) -> None:
    """Append one JSON line per metric and print it; a dry run says so in each line."""
    if options.dry_run:
        facts["dry_run"] = True
    write_lines(options.out, case, found, peer=peer, beside=beside, bench="retrain", **facts)
    for metric, (value, unit) in found.items():
        other = (beside or {}).get(metric)
        against = "" if other is None else f"   {peer}: {other:.4g}"
        print(f"  {case:36} {metric:24}{value:12.4f} {unit}{against}", flush=True)
