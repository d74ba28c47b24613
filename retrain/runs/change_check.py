"""Check a change document without the installation that made it, and write it for people. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.canonical import digest
from core.errors import InvalidError
from governance.verify.entries import verify_entry
from retrain.runs.change_limits import FORMAT, INAPPLICABLE, limits_of, verdict_of
from retrain.train.mitigation.keys import caution_of

Entry = Mapping[str, Any]


def check_document(document: Mapping[str, Any], vkeys: Sequence[str] | None = None) -> list[str]:
    """What is wrong with a change document, in words; empty if every figure follows from entries of the ledger.

    Args:
        document: as `assay envelope RUN --json` wrote it.
        vkeys: public keys that the reader trusts; without them those that the document names, which shows only that
            it belongs together.

    Raises:
        InvalidError: it is no change document.
    """
    if document.get("format") != FORMAT or not {"evidence", "ledger", "limits"} <= document.keys():
        raise InvalidError(f"this is no document of format {FORMAT}; write one with `assay envelope RUN --json`")
    said = {name: value for name, value in document.items() if name not in ("digest", "ledger")}
    found = [] if digest(said) == document["digest"] else ["the document was changed: its digest is another"]
    entries, problems = _entries(document["ledger"], vkeys)
    found += problems
    found += _evidence(document, entries)
    lines = limits_of(document["evidence"])
    if not _agree(document["limits"], lines):
        found.append("the limits are not those that the evidence gives")
    if verdict_of(lines, document["state"]) != document["verdict"]:
        found.append(f"the verdict is {document['verdict']}, the evidence gives {verdict_of(lines, document['state'])}")
    return found


def _agree(said: Sequence[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a document says of each limit what its evidence gives; what does not apply was `not measured` before."""
    then = [
        {**line, "verdict": "not measured", "reason": None} if line["verdict"] == INAPPLICABLE else line
        for line in lines
    ]
    return said in (lines, then)


def _entries(ledger: Mapping[str, Any], vkeys: Sequence[str] | None) -> tuple[list[Entry], list[str]]:
    entries, found = [], []
    for one in ledger["entries"]:
        entries.append(json.loads(one["entry"]))
        if one["proof"] is None:
            found.append(f"entry {one['index']} is not covered by a signed checkpoint yet; ask again in a minute")
            continue
        proof = [bytes.fromhex(node) for node in one["proof"]]
        trusted = ledger["vkeys"] if vkeys is None else vkeys
        verdict = verify_entry(
            one["entry"].encode(), one["index"], ledger["size"], proof, ledger["checkpoint"], trusted
        )
        found += [str(finding) for finding in verdict.findings]
    return entries, found


def _evidence(document: Mapping[str, Any], entries: Sequence[Entry]) -> Iterator[str]:
    """Differences between what the document shows and what the entries say of it."""
    evidence, run = document["evidence"], f"run:{document['run']}"

    def of(kind: str) -> list[Mapping[str, Any]]:
        return [e["body"] for e in entries if e["kind"] == kind]

    for spec in evidence["specs"]:
        made = [b for b in of("model.spec") if b["revision"] == spec["revision"]]
        if not made or made[-1]["digest"] != digest(spec["document"]):
            yield f"revision {spec['revision']} of the spec is not the one that the ledger has"
    trained = [b["record"] for b in of("run.trained")]
    if evidence["record"] is not None and digest(evidence["record"]) not in trained:
        yield "the trainer's record is not the one that the ledger has"
    sets = {(b["role"], b["digest"], b["rows"], b["provenance"]) for b in of("dataset.registered")}
    for role, part in evidence["datasets"].items():
        if (role, part["digest"], part["rows"], digest(part["provenance"])) not in sets:
            yield f"the {role} set is not the one that the ledger has"
    judged = {b["gate"]: b for b in of("gate.result")}  # the last of a gate counts
    for name, gate in evidence["gates"].items():
        said = judged.get(name, {})
        if (said.get("verdict"), said.get("evidence")) != (gate["verdict"], digest(gate["evidence"])):
            yield f"the result of gate {name} is not the one that the ledger has"
    given = [(e["actor"], one["limit"], one["measured"]) for e in of("run.allowed") for one in e["limits"]]
    for one in evidence["exceptions"]:
        if (one["actor"], one["limit"], one["measured"]) not in given:
            yield f"the ledger has no exception for {one['limit']} by {one['actor']}"
    promoted = any(e["kind"] == "version.promoted" and e["body"].get("run") == document["run"] for e in entries)
    placed = any(
        e["kind"].startswith("version.") and e["body"].get("version") == document["candidate"] for e in entries
    )
    if document["state"] == "promoted" and not (promoted or placed):
        yield f"{run} says it was promoted, and the ledger has no promotion"


def as_markdown(document: Mapping[str, Any]) -> str:
    """The document for people."""
    evidence = document["evidence"]
    head = [
        f"# Predetermined changes: run {document['run']}",
        "",
        f"Model {document['model']}, {document['champion']} to {document['candidate'] or 'no candidate'}; the run is "
        f"{document['state'].replace('_', ' ')}. Within what was determined beforehand: **{document['verdict']}**.",
        "",
        *[f"- {law}" for law in document["law"]],
        "",
    ]
    for spec in evidence["specs"]:
        entry = _entry_of(document, spec["revision"])
        head += [
            f"## Limits of revision {spec['revision']} of the spec (ledger entry {entry}, digest {spec['digest']})",
            "",
        ]
        head += ["| limit | declared | measured | verdict |", "|---|---|---|---|"]
        for line in document["limits"]:
            if line["revision"] == spec["revision"]:
                head.append(_row(line))
        head.append("")
    return "\n".join([*head, *_rest(document)]) + "\n"


def _row(line: Mapping[str, Any]) -> str:
    who = "; ".join(f"allowed once by {e['owner'] or e['actor']}: {e['why']}" for e in line["allowed_by"])
    unit = f" {line['unit']}" if line["unit"] else ""
    measured = "–" if line["measured"] is None else said(line["measured"]) + unit
    value = "–" if line["declared"] in (None, [], {}) else said(line["declared"]) + unit
    cells = (f"`{line['limit']}`", value, measured, f"{line['verdict']}{f' ({who})' if who else ''}")
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def said(value: Any) -> str:
    """A value of a limit as people read it; the document keeps every digit."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mitigated(evidence: Mapping[str, Any]) -> Iterator[str]:
    """The mitigation of the run and its trade-off; nothing where it has none."""
    found = (evidence["record"] or {}).get("mitigation")
    if found is None:
        return
    rates = f" Rates are those of `{found['positive']}`." if found.get("positive") else ""
    yield f"Mitigation: {found['method'].replace('_', ' ')} by {', '.join(found['by'])}.{rates}"
    if caution := caution_of(found):
        yield f"Note: {caution}."
    if points := found.get("points"):
        yield ""
        yield f"| setting | accuracy | interval | {found['metric'].replace('_', ' ')} | interval | rows |"
        yield "|---|---|---|---|---|---|"
        for point in points:
            parts = [
                "– | –" if p["value"] is None else f"{said(p['value'])} | {said(p['low'])} to {said(p['high'])}"
                for p in (point["accuracy"], point["fairness"])
            ]
            mark = " (chosen)" if point["setting"] == found.get("chosen") else ""
            yield f"| {point['setting']}{mark} | {' | '.join(parts)} | {point['rows']} |"
    yield ""


def _rest(document: Mapping[str, Any]) -> Iterator[str]:
    evidence, used = document["evidence"], document["used"]
    yield from _mitigated(evidence)
    if used is not None:
        kwh = "–" if used["kwh"] is None else f"{used['kwh']:.4g} kWh"
        co2e = "no CO2e" if used["co2e_kg"] is None else f"{used['co2e_kg']:.4g} kg CO2e"
        method = next((part["method"] for part in used["by_process"].values()), "")
        yield f"Used: {used['seconds']:.1f} s, {kwh}, {co2e}; estimated ({method})."
        yield ""
    record = evidence["record"]
    if record is not None and "counts" in record:
        yield "| rows | in all | gave a gradient | dropped | cut | tokens read | tokens learned | tokens cut |"
        yield "|---|---|---|---|---|---|---|---|"
        for name, c in record["counts"].items():
            names = ("rows", "rows_learned", "rows_dropped", "rows_truncated", "tokens", "tokens_learned", "tokens_cut")
            yield f"| {name} | " + " | ".join(str(c[n]) for n in names) + " |"
        yield ""
    signed = sum(one["proof"] is not None for one in document["ledger"]["entries"])
    yield f"Digest of this document: {document['digest']}"
    yield f"Ledger: {len(document['ledger']['entries'])} entries, {signed} under a signed checkpoint."


def _entry_of(document: Mapping[str, Any], revision: int) -> int | None:
    for one in document["ledger"]["entries"]:
        entry = json.loads(one["entry"])
        if entry["kind"] == "model.spec" and entry["body"]["revision"] == revision:
            return int(one["index"])
    return None
