"""Verify a bundle for somebody at a browser: the offline verifier in a process of its own, bounded in size and time."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import BusyError, InvalidError
from core.process import environment
from governance.verify.findings import FAILED, OK, SIGNER_UNKNOWN

MODULE: Final = "governance.verify.as_json"
LIMIT_S: Final = 120.0
AT_ONCE: Final = 2  # in one process of the service
MAX_MB: Final = 100  # of an upload
MAX_NAME: Final = 200  # bytes of a file's name, of which systems take 255
SAYS: Final = {
    OK: "Nothing in it was changed since it was signed, and a key that you trust signed it.",
    FAILED: "It does not verify: what it holds is not what was signed, or not what the ledger holds.",
    SIGNER_UNKNOWN: "It agrees with itself, but no key that you trust signed it: anybody can make such a bundle under "
    "a key of their own. Get the key from its publisher, by another way than the bundle.",
}  # fmt: skip
_SLOTS: Final = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the verifier said. `exit_code` as of `assay verify`; `words` as it prints them."""

    exit_code: int
    verdict: str
    says: str
    trust: str
    findings: Sequence[str]
    count: int  # of all findings
    entries: int
    printed: str
    words: str


def check(bundle: bytes, name: str, keys: Sequence[str] | None) -> Checked:
    """
    Args:
        name: of the bundle, as it is shown.
        keys: that the reader trusts; None means none.

    Raises:
        InvalidError: a key cannot be read, or the bundle takes more time or memory than is given here.
        BusyError: others are being verified.
    """
    if not _SLOTS.acquire(timeout=5):
        raise BusyError(f"{AT_ONCE} bundles are being verified already; try again in a moment", retry_after_s=5)
    try:
        with tempfile.TemporaryDirectory(prefix="assay-check-") as folder:
            plain = name.replace("/", "-").replace("\0", "").lstrip(".")
            path = Path(folder) / (plain.encode()[:MAX_NAME].decode("utf-8", "ignore") or "bundle.zip")
            path.write_bytes(bundle)
            said = _asked({"bundle": str(path), "keys": None if keys is None else list(keys)})
    finally:
        _SLOTS.release()
    if "refused" in said:
        raise InvalidError(f"key: {said['refused']}", field="key")
    code = said["exit_code"]
    return Checked(
        code, said["verdict"], SAYS[code], said["trust"], said["findings"], said["count"], said["entries"],
        said["printed"], said["words"],
    )  # fmt: skip


def _asked(document: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "core.process", str(os.getpid()), MODULE]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module, no shell
            command, input=json.dumps(document), capture_output=True, text=True, timeout=LIMIT_S, check=False,
            env=environment(1),
        )  # fmt: skip
        said: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise InvalidError(
            f"bundle: it takes more than {LIMIT_S:g} s or more memory than is given here; verify it on a machine of "
            "your own: assay verify BUNDLE --key KEY", field="bundle",
        ) from None  # fmt: skip
    return said
