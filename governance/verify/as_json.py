"""A verdict on a bundle as JSON, and a process that gives it: whatever the bundle holds, only that process pays for it.

python -m governance.verify.as_json    # reads {"bundle": PATH, "keys": [VKEY] or null} from standard input
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any, Final

from core.errors import AppError
from governance.verify.bundle import verify_bundle
from governance.verify.describe import describe
from governance.verify.findings import OK, BundleVerdict

MEMORY_BYTES: Final = 3 << 30  # address space
MAX_SHOWN: Final = 200  # findings


def document_of(verdict: BundleVerdict) -> dict[str, Any]:
    """`ok` is true only if a trusted key has signed it: a program that reads nothing else is not misled."""
    return {
        "ok": verdict.exit_code == OK, "verdict": verdict.words, "trust": verdict.trust,
        "signer": list(verdict.facts.signers), "findings": [str(f) for f in verdict.findings],
        "packing": [str(f) for f in verdict.packing], "rotated": list(verdict.facts.rotated),
        "recovered": list(verdict.facts.recovered), "against": list(verdict.held), "printed": verdict.facts.printed,
    }  # fmt: skip


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    asked = json.load(sys.stdin)
    path = Path(asked["bundle"])
    try:
        verdict = verify_bundle(path, asked["keys"])
    except AppError as error:
        json.dump({"refused": error.message}, sys.stdout)
        return
    facts = verdict.facts
    json.dump(
        document_of(verdict) | {
            "exit_code": verdict.exit_code, "entries": facts.entries, "files": list(facts.files),
            "findings": [str(f) for f in verdict.findings[:MAX_SHOWN]], "count": len(verdict.findings),
            "words": describe(verdict, Path(path.name)),
        },
        sys.stdout,
    )  # fmt: skip


if __name__ == "__main__":
    main()
