"""The model card of a version: what it is, what it learned from, how it was judged and who let it through.

Every value is one that was recorded. What was not recorded is null, with the reason.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from core.canonical import digest
from core.errors import NotFoundError
from monitor.site import Site
from monitor.spec.model import ModelSpec
from monitor.store import model as model_named
from retrain import store
from retrain.registry.layout import CONFIG, VLLM_SOURCE, WHOLE_CONFIG, peft_faults, vllm_rank, vllm_refusals
from retrain.registry.standing import standing_of
from retrain.tables import ModelVersion, Run
from retrain.train.mitigation.keys import caution_of
from retrain.train.shape import BESIDE, is_merged
from retrain.train.tabular.files import PIPELINE, is_tabular

TRAINED: Final = ("rows_train", "rows_dropped", "counts", "format", "teacher", "steps", "trainable_parameters",
                  "train_seconds", "wall_seconds", "device", "quantisation", "libraries", "versions", "starts",
                  "merged", "mitigation")  # fmt: skip


def card_of(site: Site, db: Session, model_name: str, version: str) -> dict[str, Any]:
    """Raises ModelNotFoundError, VersionNotFoundError."""
    model = model_named(db, model_name)
    row = store.version(db, model.id, version, model_name)
    trained = store.run(db, row.run_id) if row.run_id is not None else None
    spec = store.spec_at(db, model.id, trained.spec_revision if trained is not None else model.revision)
    judged = store.runs_of_version(db, model.id, row.version)
    document = {
        "model": model.name, "version": row.version, "stage": row.stage, "traffic_share": row.traffic_share,
        "created_at": row.created_at, "promoted_at": row.promoted_at, "retired_at": row.retired_at,
        "purpose": spec.purpose, "task": spec.task, "owner": spec.owner, "risk": spec.risk,
        "base_model": {"name": row.base_model, "digest": row.base_digest},
        "adapter": row.adapter, "labels": row.labels, "signed": row.signature is not None,
        "inputs": [name for name, c in spec.columns.items() if c.role == "input"],
        "outcomes": [name for name, c in spec.columns.items() if c.role == "outcome"],
        "protected": list(spec.with_role("protected")),
        "data": [] if trained is None else _data(db, trained.id),
        "recipe": None if trained is None else (trained.config or {}).get("recipe"),
        "recipe_digest": None if trained is None else trained.config_digest,
        "training": None if trained is None else _training(trained.metrics),
        "energy": _energy(trained),
        "envelope": None if spec.retrain is None else spec.retrain.envelope.model_dump(mode="json"),
        "allowed_outside": [] if trained is None else [
            {name: e.get(name) for name in ("limit", "declared", "measured", "granted", "owner", "actor", "at")}
            for e in trained.exceptions
        ],
        "judged": [_judged(db, run) for run in judged],
        "limits": _limits(spec, trained, row),
        "serving": _serving(site, row),
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(document, default=_text))
    return plain | {"digest": digest(plain)}


def _text(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _data(db: Session, run_id: UUID) -> list[dict[str, Any]]:
    return [
        {
            "role": role, "rows": d.rows, "digest": d.digest, "labels": d.provenance.get("labels") or {},
            "sources": d.provenance.get("sources") or [], "filters": d.provenance.get("filters") or [],
            "left_out": d.provenance.get("dropped") or {},
        }
        for role, d in sorted(store.run_datasets(db, run_id).items())
    ]  # fmt: skip


def _training(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if metrics is None else {name: metrics[name] for name in TRAINED if name in metrics}


def _energy(trained: Run | None) -> dict[str, Any]:
    used = (trained.metrics or {}).get("used") if trained is not None else None
    if used is None:
        why = "nothing was trained" if trained is None else "the run did not record it"
        return {"kwh": None, "co2e_kg": None, "reason": why}
    names = ("kwh", "co2e_kg", "method", "reason", "estimated")
    return {name: used.get(name) for name in names}


def _judged(db: Session, run: Run) -> dict[str, Any]:
    """One judgement of the version: a training run's, or that of a run that judged it again."""
    found, gates = standing_of(db, run), store.gates(db, run.id)
    fairness = next((g.evidence.get("checks") or [] for g in gates if g.gate == "fairness"), [])
    return {
        "run": run.id, "purpose": run.purpose, "state": run.state, "at": run.finished_at or run.created_at,
        "against": run.champion_version, "rules": run.rules,
        "gates": [{"gate": g.gate, "verdict": g.verdict, "reason": g.reason} for g in gates],
        "evaluation": (run.evaluation or {}).get("evaluations") or [],
        "fairness": fairness,
        "approvals": [
            {"owner": s.owners[0] if s.owners else None, "key": s.actor} for s in found.counted.by
        ],
        "approvals_needed": found.rules.approvals,
        "started_by": found.starter.named if found.starter else "the policy",
    }  # fmt: skip


def _limits(spec: ModelSpec, trained: Run | None, row: ModelVersion) -> list[str]:
    """What a user of the version should not expect of it, from what was recorded."""
    said = []
    if row.trained_on_erased:
        said.append(f"It was trained on rows that {len(row.trained_on_erased)} later erasures removed; retrain it.")
    if row.stage == "rejected":
        said.append("It was rejected, or rolled back from.")
    if trained is None:
        return [*said, "It is the base model; nothing about its training was recorded here."]
    for run_fact in ((trained.metrics or {}).get("counts") or {}).items():
        name, counts = run_fact
        if isinstance(counts, Mapping) and (cut := counts.get("rows_dropped", 0) or counts.get("rows_truncated", 0)):
            said.append(f"{cut} rows of the set {name} were dropped or truncated at max_length.")
    recipe = (trained.config or {}).get("recipe") or {}
    if (mitigation := recipe.get("mitigation")) is not None:
        made, by = str(mitigation["method"]).replace("_", " "), ", ".join(mitigation["by"])
        said.append(f"Its training was mitigated: {made} by {by}; the trade-off is part of the record of its training.")
        if caution := caution_of(mitigation):
            said.append(f"{caution[0].upper()}{caution[1:]}.")
    if length := recipe.get("max_length"):
        said.append(f"Texts are cut at {length} tokens.")
    if not spec.with_role("protected"):
        said.append("No column has role protected, so fairness was not judged.")
    return said


def _serving(site: Site, row: ModelVersion) -> dict[str, Any] | None:
    if row.adapter is None:
        return None
    try:
        folder = site.artifacts.path(row.adapter)
    except NotFoundError as error:  # a card is readable without the files; it says what is missing
        return {"peft": None, "vllm": None, "reason": str(error)}
    files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    if is_tabular(folder):
        made = json.loads((folder / PIPELINE).read_bytes())
        return {
            "bytes": sum(files.values()), "files": sorted(files), "peft": None, "vllm": None,
            "table": {name: made[name] for name in ("estimator", "file", "sha256", "columns", "features")},
        }  # fmt: skip
    size, listed = sum(files.values()), sorted(files)
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (FileNotFoundError, ValueError):
        config = None
    whole = None
    if config is None and is_merged(folder):  # read the adapter beside it
        whole = {"model": "merged", "dtype": _dtype(folder), "adapter": f"{BESIDE}/"}
        config = json.loads((folder / BESIDE / CONFIG).read_bytes())
        files |= {p.name: p.stat().st_size for p in (folder / BESIDE).iterdir()}
    faults = peft_faults(files, config)
    refused = ("there is no configuration to check",) if config is None else vllm_refusals(config)
    return {
        "bytes": size, "files": listed, "whole": whole,
        "peft": {"loads": not faults, "faults": list(faults)},
        "vllm": {
            "keeps_rules": not refused, "refusals": list(refused), "tested": False, "source": VLLM_SOURCE,
            "max_lora_rank": None if config is None or refused else vllm_rank(config),
        },
    }  # fmt: skip


def _dtype(folder: Path) -> str:
    found = json.loads((folder / WHOLE_CONFIG).read_bytes())
    return str(found.get("dtype") or found.get("torch_dtype"))


def markdown(card: Mapping[str, Any]) -> str:
    """The card for people, from the same values."""
    base = card["base_model"]
    lines = [
        f"# {card['model']} {card['version']}", "",
        f"{card['purpose']}. Task: {card['task']}. Risk: {card['risk']}. Answers for it: {card['owner']}.", "",
        f"Stage: **{card['stage']}**" + (f", {card['traffic_share']:.0%} of requests" if card["traffic_share"] else "")
        + f". Promoted: {card['promoted_at'] or 'never'}.",
        f"Base model: `{base['name']}` (`{base['digest']}`). Adapter: `{card['adapter'] or 'none'}`.",
    ]  # fmt: skip
    if card["labels"]:
        lines.append(f"Labels: {', '.join(card['labels'])}.")
    lines += ["", "## Data", ""]
    lines += _table(("set", "rows", "digest", "left out"), [
        (d["role"], d["rows"], f"`{d['digest']}`", "; ".join(f"{n} {why}" for why, n in d["left_out"].items()) or "–")
        for d in card["data"]
    ], "Nothing was trained, so no data was recorded.")  # fmt: skip
    lines += ["", "## Recipe", ""]
    lines += _table(("key", "value"), sorted((card["recipe"] or {}).items()), "None.")
    lines += ["", "## Training", ""]
    lines += _table(("what", "value"), list(_flat(card["training"] or {})), "None recorded.")
    energy = card["energy"]
    told = "null" if energy["kwh"] is None else f"{energy['kwh']:.6g} kWh (estimated)"
    lines += ["", f"Energy: {told}" + (f", {energy['reason']}" if energy.get("reason") else "") + "."]
    for judged in card["judged"]:
        lines += ["", f"## Judged against {judged['against']} ({judged['state']}, {judged['at']})", ""]
        rows = [(g["gate"], g["verdict"], g["reason"]) for g in judged["gates"]]
        lines += _table(("gate", "verdict", "reason"), rows, "No gate was judged.")
        for check in judged["fairness"]:
            lines.append(
                f"\nFairness: {check['metric']} by {check['by']} is {check['challenger']} (champion "
                f"{check['champion']}, limit {check['limit']})."
            )
        names = ", ".join(f"{a['owner']} (key {a['key']})" for a in judged["approvals"]) or "nobody"
        lines += ["", f"Started by {judged['started_by']}. Approved by {names}; {judged['approvals_needed']} needed."]
    lines += ["", "## Change envelope", ""]
    lines += _table(
        ("limit", "value"), [(k, v) for k, v in _flat(card["envelope"] or {}) if v not in (None, [], {})], "None."
    )
    for one in card["allowed_outside"]:
        who = one.get("owner") or one["actor"]
        lines.append(f"\nAllowed once by {who}: {one['limit']} {one['measured']}, declared {one['declared']}.")
    lines += ["", "## Limits", "", *(f"- {line}" for line in card["limits"] or ["None recorded."])]
    if card["serving"] is not None:
        lines += ["", "## Serving", "", *_serving_lines(card["serving"])]
    return "\n".join([*lines, "", f"Digest of this card: `{card['digest']}`", ""])


def _serving_lines(serving: Mapping[str, Any]) -> list[str]:
    if (table := serving.get("table")) is not None:
        columns = ", ".join(f"{one['name']} ({one['type']})" for one in table["columns"])
        return [f"- {table['estimator']} in `{table['file']}` (`{table['sha256']}`), pipeline in `{PIPELINE}`",
                f"- Columns, in order: {columns}; {len(table['features'])} numbers a row"]  # fmt: skip
    if serving["peft"] is None:
        return [f"- The adapter cannot be read: {serving['reason']}"]
    peft, vllm, whole = serving["peft"], serving["vllm"], serving.get("whole")
    alone = [] if whole is None else [
        f"- One model in {whole['dtype']}, the adapter merged into it: load it with transformers. It is what the gates "
        f"judged. The adapter lies in `{whole['adapter']}`, for the next training"
    ]  # fmt: skip
    keeps = f"keeps its published rules with max_lora_rank {vllm['max_lora_rank']}"
    of = "" if whole is None else ", of the adapter"
    return [
        *alone,
        f"- PEFT{of}: {'standard layout' if peft['loads'] else '; '.join(peft['faults'])}",
        f"- vLLM{of}, untested: {keeps if vllm['keeps_rules'] else '; '.join(vllm['refusals'])} ({vllm['source']})",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> list[str]:
    if not rows:
        return [empty]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values with their way as one name: `counts.train.rows`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
