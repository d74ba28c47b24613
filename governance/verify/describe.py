"""Put the verdict on a bundle in words."""

from pathlib import Path
from typing import Final

from governance.verify.findings import SELF_SIGNED, BundleVerdict

WHERE_KEYS_ARE: Final = "give --key VKEY, the key that the service publishes, from a source other than the bundle"


def describe(verdict: BundleVerdict, path: Path) -> str:
    """Plain text for a person: verdict first, then what it rests on, then each finding."""
    facts = verdict.facts
    rows = [
        ("bundle", str(path)),
        ("verdict", verdict.words),
        ("trust", verdict.trust + (f" ({WHERE_KEYS_ARE})" if verdict.trust == SELF_SIGNED else "")),
        ("signer", ", ".join(facts.signers) or "none"),
        ("ledger", f"{facts.entries} entries, checkpoint size {facts.size}, root {facts.root}"),
        ("files", ", ".join(facts.files) or "none"),
    ]
    rows += [("printed", facts.printed)] if facts.printed else []
    rows += [("copied", where) for where in facts.copied]
    rows += [("rotated", where) for where in facts.rotated]
    rows += [("recovered", where.removeprefix("recovered ")) for where in facts.recovered]
    rows += [("against", held) for held in verdict.held]
    rows += [("packing", str(note)) for note in verdict.packing]
    rows += [("finding", str(finding)) for finding in verdict.findings]
    # A forged bundle chooses its own names: nothing it says may reach the terminal as a control sequence.
    return "\n".join(f"{name:<8} {_printable(value)}" for name, value in rows)


def _printable(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode() for c in text)
