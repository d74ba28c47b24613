"""Parse the policies that a replay compares: the declared spec with other rules, budgets, windows or floors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidError
from monitor.metric_names import check_metrics
from monitor.spec.model import ModelSpec
from monitor.spec.parse import SpecError, parse_spec
from monitor.spec.yaml_text import UnreadableTextError, read_text

DECLARED_POLICY: Final = "declared"
FIELDS: Final = (
    "windows",
    "false_alarms",
    "phases",
    "drift",
)  # the parts of `monitors` that set the alarm budget and how it is spent
RULES: Final = ("blocks", "row_tests", "thresholds")
POLICY_HELP: Final = (
    "blocks, row_tests, thresholds:psi=0.2, alpha=0.01, false_alarms=1 per 60d, windows=1d/7d, windows=500, "
    "phases=day_of_week; several in one policy joined by +; or a YAML file"
)


@dataclass(frozen=True)
class Policy:
    name: str
    spec: ModelSpec


def policies(spec: ModelSpec, given: Sequence[str]) -> list[Policy]:
    """Return the declared spec first, then every policy in the given order.

    Args:
        given: values of `--compare`: policies with their settings, or files, separated by commas.

    Raises:
        InvalidError: a text is not a policy, or the policy does not fit the spec; the message names the text.
    """
    if spec.monitors.windows == "auto" or (spec.fixed_baseline is None and spec.first_rows is None):
        raise InvalidError(
            "compare: with `windows: auto` or `baseline: auto`, the rule and the reference change on the way, so "
            "policies cannot judge the same windows; write lengths and a reference of your own, such as "
            "`monitors.windows: [1d]` and `baseline: {rows: first 5000}`", field="compare",
        )  # fmt: skip
    found = [Policy(DECLARED_POLICY, spec)]
    for text in _split(given):
        name, changes = _file(Path(text)) if text.endswith((".yaml", ".yml", ".json")) else (text, _changes(text))
        if name in [policy.name for policy in found]:
            raise InvalidError(f"compare: policy {name!r} appears twice; leave one out", field="compare", value=name)
        found.append(Policy(name, _changed(spec, name, changes)))
    return found


def _split(given: Sequence[str]) -> Iterator[str]:
    """Split policies at commas; a file name may contain a comma."""
    for text in given:
        if Path(text).is_file():
            yield text
        else:
            yield from (part.strip() for part in text.split(",") if part.strip())


def _file(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the name (by default that of the file) and the changes of a policy file."""
    if not path.is_file():
        raise InvalidError(f"compare: {path} does not exist; give the path of a file", field="compare", value=str(path))
    try:
        document, _ = read_text(path.read_bytes())
    except UnreadableTextError as error:
        raise InvalidError(f"compare: {path} is {error.reason}", field="compare") from error
    if not isinstance(document, Mapping):
        raise InvalidError(f"compare: {path} is not a mapping; give any of {', '.join(FIELDS)}", field="compare")
    name = document.get("name", path.stem)
    changes = {key: value for key, value in document.items() if key != "name"}
    if strange := [key for key in changes if key not in FIELDS]:
        raise InvalidError(
            f"compare: {path} has {strange[0]!r}; a policy file has name and any of {', '.join(FIELDS)}",
            field="compare", value=str(strange[0]),
        )  # fmt: skip
    return str(name), changes


def _changes(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split("+"):
        head, _, value = part.strip().partition("=")
        rule, _, limits = part.strip().partition(":")
        if rule in RULES:
            found["drift"] = {"rule": rule, "thresholds": _limits(text, limits)}
        elif head == "alpha":
            found["false_alarms"] = {"alpha": _number(text, value)}
        elif head == "windows":
            rows = value.removesuffix("rows").strip()
            found["windows"] = {"rows": int(rows)} if rows.isdecimal() else value.split("/")
        elif head in ("false_alarms", "phases") and value:
            found[head] = value
        else:
            raise InvalidError(
                f"compare: {part.strip()!r} is not a policy; write {POLICY_HELP}", field="compare", value=part.strip()
            )
    return found


def _limits(text: str, given: str) -> dict[str, float]:
    limits = (part.partition("=") for part in given.split(":") if part)
    return {name: _number(text, value) for name, _, value in limits}


def _number(text: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise InvalidError(
            f"compare: {value!r} in {text!r} is not a number; write a limit such as thresholds:psi=0.2",
            field="compare", value=value,
        ) from error  # fmt: skip


def _changed(spec: ModelSpec, name: str, changes: Mapping[str, Any]) -> ModelSpec:
    monitors = spec.document["monitors"]
    rule = changes.get("drift", {})
    if not isinstance(rule, Mapping):
        raise InvalidError(f"compare: drift of {name!r} is not a mapping; write it as in the spec", field="compare")
    if "rule" in rule:  # a new rule starts without the old rule's thresholds
        rule = {"thresholds": {}, **rule}
    try:
        changed = parse_spec(spec.document | {"monitors": monitors | changes | {"drift": monitors["drift"] | rule}})
        check_metrics(changed)
        changed = changed.with_lengths(spec.monitors.scales)
    except SpecError as error:
        raise InvalidError(f"compare: policy {name!r}: {error.message}", field="compare", value=name) from error
    return changed


def budgeted(spec: ModelSpec) -> ModelSpec:
    """Return the spec without the parts outside the alarm budget: KPIs, fairness, estimates and retrain policy."""
    left_out = {"kpi": [], "fairness": [], "estimate": False}
    found = parse_spec(spec.document | {"monitors": spec.document["monitors"] | left_out, "retrain": None})
    return found.with_lengths(spec.monitors.scales)
