"""The archive of a bundle: a zip whose bytes are fixed by its members. Written and read here."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from governance.verify.findings import Finding
from governance.verify.manifest import MANIFEST, MANIFEST_NOTE, MEMBER_PATH

MAX_BUNDLE_BYTES: Final = 2**31 - 1  # a larger zip needs extensions, which the layout does not allow
MAX_MEMBERS: Final = 10_000


_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION: Final = 20
_DATE: Final = 0x0021  # 1980-01-01, the earliest date a zip can store
_UNIX_MADE: Final = 3 << 8 | _VERSION
_FILE_MODE: Final = 0o100644 << 16


def member_order(name: str) -> tuple[int, str]:
    """Sort key of a member in the archive: manifest, its note, then the others by path."""
    return {MANIFEST: 0, MANIFEST_NOTE: 1}.get(name, 2), name


def canonical_archive(members: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The canonical archive of these members, in labelled pieces. Source: PKWARE APPNOTE 6.3.10, 4.3.7 to 4.3.16."""
    directory: list[tuple[str, bytes]] = []
    offset = 0
    for name, content in sorted(members, key=lambda member: member_order(member[0])):
        raw, crc, size = name.encode(), zlib.crc32(content), len(content)
        header = _LOCAL.pack(_LOCAL_MARK, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(raw), 0) + raw
        yield f"header of {name}", header
        yield f"content of {name}", content
        record = (_CENTRAL_MARK, _UNIX_MADE, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(raw), 0, 0, 0, 0)
        directory.append((f"directory record of {name}", _CENTRAL.pack(*record, _FILE_MODE, offset) + raw))
        offset += len(header) + size
    yield from directory
    length = sum(len(record) for _, record in directory)
    yield "end record", _END.pack(_END_MARK, 0, 0, len(directory), len(directory), length, offset, 0)


def read_archive(data: bytes) -> tuple[list[tuple[str, bytes]], Finding | None]:
    """The members in file order, up to the first header that cannot be read."""
    members: list[tuple[str, bytes]] = []
    offset, after = 0, "start of the archive"
    while data[offset : offset + 4] != _CENTRAL_MARK:
        broken = Finding("archive.header", after, "the header of a stored member", f"other bytes at offset {offset}")
        if offset + _LOCAL.size > len(data) or len(members) == MAX_MEMBERS:
            return members, broken
        mark, _, flags, method, _, _, _, packed, size, name_length, extra = _LOCAL.unpack_from(data, offset)
        start = offset + _LOCAL.size + name_length
        raw = data[offset + _LOCAL.size : start]
        if mark != _LOCAL_MARK or flags or method or packed != size or extra or start + size > len(data):
            where = raw.decode("ascii", "backslashreplace") if mark == _LOCAL_MARK else f"after {after}"
            return members, Finding(broken.what, where, broken.expected, broken.found)
        after = raw.decode("ascii", "backslashreplace")
        members.append((after, data[start : start + size]))
        offset = start + size
    return members, None


def name_findings(names: Sequence[str]) -> list[Finding]:
    """Member names that Assay never writes, and those that a reader could take for one another."""
    findings: list[Finding] = []
    seen: set[str] = set()
    for name in names:
        if not MEMBER_PATH.fullmatch(name):
            findings.append(Finding("archive.path", name, "a relative path of plain names", repr(name)))
        if name.casefold() in seen:
            findings.append(Finding("archive.duplicate", name, "each member once", "a second member of this name"))
        seen.add(name.casefold())
    return findings


def archive_findings(data: bytes, members: Sequence[tuple[str, bytes]]) -> list[Finding]:
    """The first difference from the canonical archive of the same members, and member names Assay never writes."""
    findings = name_findings([name for name, _ in members])
    offset = 0
    for label, piece in canonical_archive(members):
        found = data[offset : offset + len(piece)]
        if found != piece:
            at = offset + next((i for i, (a, b) in enumerate(zip(found, piece, strict=False)) if a != b), len(found))
            where = label.split(" of ", 1)[1] if " of " in label else "archive"
            wanted = f"the canonical archive of its members ({label})"
            findings.append(Finding("archive.bytes", where, wanted, f"other bytes at offset {at}"))
            return findings
        offset += len(piece)
    if offset != len(data):
        findings.append(
            Finding("archive.bytes", "archive", f"{offset} bytes", f"{len(data) - offset} bytes after them")
        )
    return findings
