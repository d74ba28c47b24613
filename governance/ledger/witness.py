"""Be a witness of other logs: cosign what extends the last checkpoint, and never a fork (C2SP tlog-witness).

The last checkpoint of each log is a file, written durably before the cosignature is given.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from core.artifacts import write_durably
from core.errors import AppError
from governance.ledger.signers.file import read_key
from governance.proof import merkle
from governance.proof.checkpoint import SIZE, Checkpoint, verify_checkpoint
from governance.proof.cosignature import WitnessKey, cosign
from governance.proof.note import NoteSignatureError
from governance.proof.vkey import NoteSigner, SigningKey, VerifierKey, strict_base64

FOLDER: Final = "witness"  # in the home folder
MAX_BODY: Final = 64 * 1024  # bytes
MAX_PROOF: Final = 63  # hashes
SIZE_MEDIA: Final = "text/x.tlog.size"


@dataclass(frozen=True)
class WitnessAnswer:
    """HTTP status, text and media type, as c2sp.org/tlog-witness says."""

    status: int
    text: str
    media_type: str = "text/plain; charset=utf-8"


def witness_signer(home: Path, origin: str) -> SigningKey:
    """The key of this installation as a witness; the first call makes it."""
    path = home / "keys" / "witness.key"
    if not path.exists():
        write_durably(path, (SigningKey.generate(f"{origin}/witness").secret() + "\n").encode(), mode=0o600)
    return read_key(path)


def witness_vkey(signer: NoteSigner) -> str:
    return str(WitnessKey(signer.name, signer.verifier.public))


def add_checkpoint(
    body: bytes, *, logs: Sequence[str], folder: Path, signer: NoteSigner, now: datetime
) -> WitnessAnswer:
    """Answer a request of a log.

    Args:
        body: `old SIZE`, a consistency proof in base64, one hash a line, a blank line, the checkpoint.
        logs: public keys of the logs that this is a witness of.
        folder: of the last checkpoints.
    """
    try:
        old, proof, note = _parsed(body)
    except ValueError as error:
        return WitnessAnswer(400, f"{error}\n")
    origin = note.split("\n", 1)[0]
    keys = [vkey for vkey in logs if VerifierKey.parse(vkey).name == origin]
    if not keys:
        return WitnessAnswer(404, "this is no witness of that log\n")
    try:
        head = verify_checkpoint(note, keys)
    except NoteSignatureError as error:
        return WitnessAnswer(403, f"{error.message}\n")
    except AppError as error:
        return WitnessAnswer(400, f"{error.message}\n")
    if old > head.size:
        return WitnessAnswer(400, f"old size {old} is larger than the checkpoint's {head.size}\n")
    with _held(folder, f"{origin}\n{head.signers[0]}") as path:
        size, root = _last(path)
        if old != size or (head.size == size and size and head.root != root):
            return WitnessAnswer(409, f"{size}\n", SIZE_MEDIA)
        if not _extends(size, root, head, proof):
            return WitnessAnswer(422, f"the proof does not show that {head.size} entries extend {size}\n")
        write_durably(path, (json.dumps({"size": head.size, "root": head.root.hex(), "note": note}) + "\n").encode())
    return WitnessAnswer(200, cosign(signer, note, now))


def _parsed(body: bytes) -> tuple[int, list[bytes], str]:
    text = body.decode("utf-8")  # UnicodeDecodeError is a ValueError
    head, blank, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    size = first.removeprefix("old ")
    if not blank or not first.startswith("old ") or not SIZE.fullmatch(size):
        raise ValueError("the body is not `old SIZE`, a proof, a blank line and a checkpoint")
    proof = [strict_base64(line) for line in lines]
    if len(proof) > MAX_PROOF or any(node is None or len(node) != merkle.HASH_BYTES for node in proof):
        raise ValueError(f"the proof is not at most {MAX_PROOF} hashes in base64")
    return int(size), [node for node in proof if node is not None], note


def _extends(size: int, root: bytes, head: Checkpoint, proof: Sequence[bytes]) -> bool:
    if size == 0:
        return not proof
    return merkle.verify_consistency(size, head.size, root, head.root, proof)


def _last(path: Path) -> tuple[int, bytes]:
    """What was cosigned last. A file that cannot be read is an error: to begin again would let a fork through."""
    if not path.exists():
        return 0, merkle.EMPTY_ROOT
    kept = json.loads(path.read_text())
    return int(kept["size"]), bytes.fromhex(kept["root"])


@contextmanager
def _held(folder: Path, log: str) -> Iterator[Path]:
    """The file of a log, for one request at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(log.encode()).hexdigest()[:32]}.json"
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path
