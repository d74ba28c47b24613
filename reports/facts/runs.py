"""Short summaries of a run's records: its configuration, its training, its evaluation.

The full records, with loss curves, label lists and counts, stay in report.json. Every field may be missing, because a
run that failed early has only some of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reports.charts.text import number
from reports.paths import without_paths

Record = Mapping[str, Any] | None
Fact = tuple[str, str]
MOST: Final = 6  # names listed before the rest is only counted
ROLES: Final[Mapping[str, str]] = {"train": "training", "eval": "new hold-out", "holdout": "old hold-out"}
ROWS: Final[Mapping[str, str]] = {"new": "new hold-out", "old": "old hold-out"}
LIBRARIES: Final = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "python")


@dataclass(frozen=True)
class ComparedValue:
    """One metric of champion and challenger on the same rows, each with its interval."""

    metric: str
    rows: str
    n: str
    champion: str
    champion_interval: str
    challenger: str
    challenger_interval: str
    difference: str
    difference_interval: str
    reason: str  # why there is no value


@dataclass(frozen=True)
class DatasetSource:
    """Where the rows of a dataset came from."""

    role: str
    labels: str
    origin: str
    dropped: str


def configuration(config: Record, metrics: Record) -> tuple[Fact, ...]:
    """What was fixed before training, and on what it ran."""
    if not config:
        return ()
    recipe, done = _record(config, "recipe") or config, metrics or {}
    quantised, libraries = _record(done, "quantisation"), _record(done, "libraries")
    base = _joined(without_paths(recipe.get("base_model")), _short(_record(done, "digests").get("base")))
    bits = f"4-bit {quantised['type']}{', double' if quantised.get('double') else ''}" if quantised.get("type") else ""
    adapter = _named("rank", recipe.get("r")), _named("alpha", recipe.get("lora_alpha")), bits
    schedule = (
        _named("learning rate", recipe.get("learning_rate")), _named("epochs", recipe.get("epochs")),
        _named("batch", recipe.get("batch_size")), _named("accumulated", recipe.get("gradient_accumulation_steps")),
        _named("longest text", recipe.get("max_length"), "tokens"),
    )  # fmt: skip
    rows = (
        _named("", done.get("rows_train"), "to train on"), _named("", done.get("rows_eval"), "to evaluate on"),
        _named("", done.get("rows_dropped"), "dropped by the trainer"),
    )  # fmt: skip
    device = done.get("device") or config.get("device")
    labels, new = config.get("labels") or (), done.get("labels_new") or ()
    lines = (
        ("Base model", base),
        ("Method", _joined(recipe.get("method"), *adapter, sep=", ")),
        ("Task", str(recipe.get("task") or "").replace("_", " ")),
        ("Schedule", _joined(*schedule, sep=", ")),
        ("Seed", _named("", recipe.get("seed", done.get("seed")))),
        ("Rows", _joined(*rows, sep=", ")),
        ("Labels", _joined(f"{len(labels):,}" if labels else "", f"new: {listed(new)}" if new else "", sep="; ")),
        ("Device", _joined(device, _named("threads", done.get("threads")), sep=", ")),
        ("Libraries", ", ".join(f"{k} {libraries[k]}" for k in LIBRARIES if libraries.get(k))),
    )  # fmt: skip
    return tuple((name, value) for name, value in lines if value)


def training(metrics: Record) -> tuple[Fact, ...]:
    """How training went."""
    if not metrics:
        return ()
    loss = losses(metrics)
    peak = metrics.get("peak_rss_bytes")
    lines = (
        ("Steps", _named("", metrics.get("steps"))),
        ("Loss", f"{number(loss[0])} in the first step, {number(loss[-1])} in the last" if loss else ""),
        ("Time", _named("", metrics.get("train_seconds"), "s of training", digits=1)),
        ("Peak memory", f"{peak / 2**20:,.0f} MiB" if isinstance(peak, int | float) else ""),
        ("Trained parameters", _named("", metrics.get("trainable_parameters"))),
        ("Gave a gradient", _counted(metrics)),
        ("Start", _start(_record(metrics, "starts"))),
        ("Teacher", _teacher(_record(metrics, "teacher"))),
        ("Served as", _served(_record(metrics, "merged"))),
        ("Energy", _energy(_record(metrics, "used"))),
    )
    return tuple((name, value) for name, value in lines if value)


def _counted(metrics: Mapping[str, Any]) -> str:
    counts = _record(_record(metrics, "counts"), "train")
    if not counts:
        return ""
    reasons = [f"{count:,} where {reason}" for reason, count in _record(counts, "dropped_for").items()]
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return (
        f"{counts['rows_learned']:,} of {counts['rows']:,} rows and {counts['tokens_learned']:,} tokens; "
        f"{counts['rows_dropped']:,} rows dropped{why}, "
        f"{counts['rows_truncated']:,} cut by {counts['tokens_cut']:,} tokens"
    )


def _start(starts: Mapping[str, Any]) -> str:
    """Where training began, and why there."""
    if not starts:
        return ""
    named = "the champion's adapter" if starts.get("chosen") == "champion" else "the base"
    return f"from {named}: {without_paths(starts.get('reason'))}"


def _teacher(found: Mapping[str, Any]) -> str:
    """Which version taught, how much that counted, and which rows it taught."""
    if not found:
        return ""
    alone, agrees = found.get("rows_of_outcomes_alone"), found.get("agrees_with_outcomes")
    rows = (
        _named("rows taught:", found.get("rows_taught")),
        f"{alone:,} of classes that it does not know" if alone else "",
        f"it agrees with {100 * agrees:.1f} % of the outcomes" if agrees is not None else "",
    )
    weight = f"{found.get('of')} {found.get('version')}, weight {found.get('weight'):g}"
    return f"{weight}, temperature {found.get('temperature'):g}; {_joined(*rows, sep=', ')}"


def _served(merged: Mapping[str, Any]) -> str:
    if not merged:
        return ""
    size = f"{merged['bytes'] / 1e6:,.1f} MB"
    return f"one model in {merged['dtype']}, {size}, the adapter merged into {merged['layers']} of its layers"


def _energy(used: Mapping[str, Any]) -> str:
    if used.get("kwh") is None:
        return ""
    co2e = f", {number(used['co2e_kg'])} kg CO2e" if used.get("co2e_kg") is not None else ""
    return f"{number(used['kwh'])} kWh{co2e}, estimated: {used.get('method') or 'method unknown'}"


def losses(metrics: Record) -> tuple[float, ...]:
    """The loss of each step."""
    found = (metrics or {}).get("loss")
    return tuple(float(v) for v in found if isinstance(v, int | float)) if isinstance(found, list | tuple) else ()


def evaluation(found: Record) -> tuple[ComparedValue, ...]:
    """Champion against challenger, one line per metric and kind of rows."""
    if not found:
        return ()
    values = {(e.get("name"), e.get("rows"), e.get("model")): e for e in found.get("evaluations") or ()}
    differences = {(d.get("name"), d.get("rows")): d for d in found.get("differences") or ()}
    lines = []
    for metric, rows in dict.fromkeys((name, rows) for name, rows, _ in values):
        champion, challenger = (values.get((metric, rows, side), {}) for side in ("champion", "challenger"))
        difference = differences.get((metric, rows), {})
        reasons = dict.fromkeys(str(e["reason"]) for e in (champion, challenger, difference) if e.get("reason"))
        lines.append(
            ComparedValue(
                metric=str(metric).replace("_", " "), rows=ROWS.get(str(rows), str(rows)),
                n=_named("", challenger.get("n", champion.get("n"))) or "–",
                champion=number(champion.get("value")), champion_interval=_interval(champion),
                challenger=number(challenger.get("value")), challenger_interval=_interval(challenger),
                difference=signed(difference.get("value")), difference_interval=_interval(difference, sign=True),
                reason="; ".join(reasons),
            )
        )  # fmt: skip
    return tuple(lines)


def source(role: str, provenance: Mapping[str, Any]) -> DatasetSource:
    """Where the rows of a dataset came from, how they were chosen and which were left out."""
    tables = [_table(s) for s in provenance.get("sources") or () if isinstance(s, Mapping)]
    filters = [str(f) for f in provenance.get("filters") or ()]
    labels = provenance.get("labels")
    out = provenance.get("labels_left_out") or {}
    dropped = [f"{n:,} × {why}" for why, n in (provenance.get("dropped") or {}).items() if isinstance(n, int) and n]
    dropped += [f"{len(out):,} labels with too few rows"] if out else []
    dropped += [f"{m['rows_removed']:,} × erased (erasure {m['erasure']})" for m in provenance.get("erasures", [])]
    origin = "; ".join((*filters, *tables)) or str(provenance.get("source") or "not recorded")
    return DatasetSource(
        role=ROLES.get(role, role), labels=f"{len(labels):,}" if isinstance(labels, Mapping | list | tuple) else "–",
        origin=without_paths(origin), dropped="; ".join(dropped) or "none",
    )  # fmt: skip


def listed(names: Sequence[object], most: int = MOST) -> str:
    """The first names and how many more there are."""
    shown = ", ".join(map(str, names[:most]))
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def signed(value: float | None) -> str:
    return number(value) if value is None or value < 0 else f"+{number(value)}"


def _interval(line: Mapping[str, Any], *, sign: bool = False) -> str:
    low, high, word = line.get("low"), line.get("high"), signed if sign else number
    return "–" if low is None or high is None else f"{word(low)} to {word(high)}"


def _table(s: Mapping[str, Any]) -> str:
    name = str(s.get("table") or "rows").rpartition("/")[2]
    what = f"{name} {s['from_seq']:,} to {s['to_seq'] - 1:,}" if _counts(s, "from_seq", "to_seq") else name
    what = f"{s['outcomes']:,} {name}" if _counts(s, "outcomes") else what
    return f"{what} (table version {s['delta_version']})" if _counts(s, "delta_version") else what


def _counts(s: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(s.get(k), int) for k in keys)


def _record(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}


def _named(name: str, value: object, unit: str = "", *, digits: int = 0) -> str:
    """`rank 16`, `8,240 to train on`; nothing where there is no value."""
    if value is None:
        return ""
    said = str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        said = f"{value:,.{digits}f}" if digits or isinstance(value, int) else f"{value:g}"
    return _joined(name, said, unit)


def _joined(*parts: object, sep: str = " ") -> str:
    return sep.join(str(p) for p in parts if p)


def _short(digest: object) -> str:
    return str(digest).removeprefix("sha256:")[:12] if digest else ""
