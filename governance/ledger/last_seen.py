"""The last-seen file: the newest signed checkpoint, kept where a restored home folder does not take it along.

It is written after each signing and read before each: a log that does not extend it is not signed. It holds nothing
but the signed note, so nobody without the key can write another one.
"""

from pathlib import Path

from core.artifacts import write_durably
from core.logs import logger
from governance.proof.checkpoint import SIZE

SET_ASIDE = ".before"  # appended to the name of the file of an installation that was here earlier
log = logger("governance.ledger.last_seen")


def read_last_seen(path: Path) -> str | None:
    """The note in the file; None if there is no file. What is no text is read with marks in place of it.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        return path.read_bytes().decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_if_readable(path: Path) -> str | None:
    """As `read_last_seen`; None too if it cannot be read."""
    try:
        return read_last_seen(path)
    except OSError:
        return None


def write_last_seen(path: Path, note: str) -> bool:
    """Replace the file durably; False if it cannot be written, which `last_seen_problem` tells until it is mended."""
    try:
        write_durably(path, note.encode())
    except OSError as error:
        log.warning("the last-seen file cannot be written", path=str(path), reason=error.strerror)
        return False
    return True


def claimed_size(note: str | None) -> int:
    """The size that a note names, whoever signed it; 0 if it names none."""
    line = (note or "").split("\n", 2)[1:2]
    return int(line[0]) if line and SIZE.fullmatch(line[0]) else 0


def last_seen_problem(path: Path, signed: int) -> str | None:
    """Why the file does not keep the newest checkpoint, in words; None if it does.

    Args:
        signed: entries that the newest checkpoint covers.
    """
    try:
        note = read_last_seen(path)
    except OSError as error:
        return f"the last-seen file {path} cannot be read: {error.strerror}"
    if note is None and signed:
        return f"there is no last-seen file {path}"
    if claimed_size(note) < signed:
        return f"the last-seen file {path} is not written: it ends at {claimed_size(note)} entries, {signed} are signed"
    return None


def set_aside(path: Path) -> None:
    """Move the file of another installation out of the way; a file that was moved earlier is replaced."""
    path.replace(path.with_name(path.name + SET_ASIDE))
