"""Ask witnesses to cosign the checkpoints of this log (C2SP tlog-witness), and keep what they answered.

One file for each witness keeps the newest checkpoint that it has cosigned, its line, and why the last try failed.
"""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.artifacts import write_durably
from core.errors import InvalidError
from core.settings_ledger import LedgerSettings
from governance.proof.cosignature import WitnessKey, cosignatures
from governance.proof.vkey import VerifierKey

if TYPE_CHECKING:
    import httpx2

FOLDER: Final = "cosigned"  # in the home folder
TIMEOUT_S: Final = 5.0
MAX_ANSWER: Final = 20_000  # characters
Prove = Callable[[int], Sequence[bytes]]  # consistency proof from so many entries to those of the checkpoint


@dataclass(frozen=True)
class Witness:
    """A witness as it is configured: `VKEY URL`."""

    key: WitnessKey
    url: str

    @classmethod
    def parse(cls, text: str) -> "Witness":
        vkey, _, url = text.strip().partition(" ")
        if not url.strip().startswith(("http://", "https://")):
            raise InvalidError("a witness is its key, a space, and its address, which begins with http:// or https://")
        return cls(WitnessKey.parse(vkey), url.strip().rstrip("/"))


def check_witnesses(ledger: LedgerSettings) -> None:
    """
    Raises:
        InvalidError: a setting about witnesses cannot be read.
    """
    for field, parse, given in (
        ("witnesses", Witness.parse, ledger.witnesses), ("witness_of", VerifierKey.parse, ledger.witness_of),
    ):  # fmt: skip
        for one in given:
            try:
                parse(one)
            except InvalidError as error:
                raise InvalidError(f"ledger.{field}: {error.message}", field=f"ledger.{field}", value=one) from error


@dataclass(frozen=True)
class Asked:
    """What is known of a witness: the size and line of its newest cosignature; `problem` since `failing_since`."""

    size: int = 0
    note: str = ""
    line: str = ""
    problem: str = ""
    failing_since: str = ""
    forked: bool = False


def ask(witness: Witness, note: str, *, home: Path, prove: Prove, now: datetime) -> Asked:
    """Ask a witness for its cosignature on a checkpoint, unless it has given it."""
    path = home / FOLDER / f"{witness.key.key_id.hex()}.json"
    known = read_asked(home, witness)
    if known.note == note:
        return known
    size = int(note.split("\n")[1])
    line, problem, forked = _line(witness, note, known.size if known.size <= size else 0, size, prove)
    if line is not None:
        answer = Asked(size, note, line)
    else:
        since = known.failing_since or now.isoformat()
        answer = Asked(known.size, known.note, known.line, problem, since, forked)
    write_durably(path, (json.dumps(asdict(answer)) + "\n").encode())
    return answer


def read_asked(home: Path, witness: Witness) -> Asked:
    path = home / FOLDER / f"{witness.key.key_id.hex()}.json"
    try:
        return Asked(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Asked()


def with_cosignatures(note: str, home: Path, witnesses: Sequence[Witness]) -> str:
    """The note with the lines of all witnesses that have cosigned it."""
    answers = [read_asked(home, witness) for witness in witnesses]
    return note + "".join(one.line for one in answers if one.note == note)


def _line(witness: Witness, note: str, old: int, size: int, prove: Prove) -> tuple[str | None, str, bool]:
    """The line, or why there is none, and whether that is because the witness has seen another history."""
    import httpx2  # most services have no witness

    try:
        answer = _post(witness, note, old, prove)
        if answer.status_code == httpx2.codes.CONFLICT and answer.text.strip().isdigit():
            seen = int(answer.text)
            if seen > size:
                return None, f"it has seen {seen} entries, and this log has signed {size}", True
            if seen != old:
                answer = _post(witness, note, seen, prove)
    except httpx2.HTTPError as error:
        return None, f"it cannot be reached ({type(error).__name__})", False
    said = " ".join(answer.text[:200].split())
    if answer.status_code in (httpx2.codes.CONFLICT, httpx2.codes.UNPROCESSABLE_CONTENT):
        return None, f"it has seen another history of this log ({answer.status_code}: {said})", True
    if answer.status_code != httpx2.codes.OK or len(answer.text) > MAX_ANSWER:
        return None, f"it answers {answer.status_code}: {said}", False
    for line in answer.text.splitlines(keepends=True):
        if cosignatures(note + line, [str(witness.key)]):
            return line, "", False
    return None, "its answer holds no cosignature of its key", False


def _post(witness: Witness, note: str, old: int, prove: Prove) -> "httpx2.Response":
    import httpx2

    proof = "".join(f"{base64.b64encode(node).decode()}\n" for node in (prove(old) if old else ()))
    body = f"old {old}\n{proof}\n{note}".encode()
    return httpx2.post(f"{witness.url}/add-checkpoint", content=body, timeout=TIMEOUT_S)
