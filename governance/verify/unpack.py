"""The members of a bundle however it was packed: as Assay wrote it, zipped again by another program, or a folder.

What is signed is the content of the members. How they are packed is noted, and is an error only where two readers could
see different contents: a name twice, a directory that disagrees with the headers, bytes that belong to no member.
"""

import io
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from governance.verify.archive import (
    MAX_BUNDLE_BYTES,
    MAX_MEMBERS,
    archive_findings,
    member_order,
    name_findings,
    read_archive,
)
from governance.verify.findings import Finding
from governance.verify.manifest import MANIFEST

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_END_BYTES: Final = 22  # of the end record, without its comment
_HAS_DESCRIPTOR, _ENCRYPTED = 0x08, 0x01
_OTHER_NAME: Final = 0x7075  # extra field with another name of the member, which some readers prefer
_IN_EXTRA_FIELD: Final = 0xFFFFFFFF
_DROPPED: Final = {".DS_Store", "Thumbs.db", "desktop.ini"}  # by file managers, into folders that they show
_UNREADABLE: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError, NotImplementedError,
    ValueError, OverflowError,
)  # fmt: skip


@dataclass
class Unpacked:
    """Members by path, what is wrong with the package itself, and notes on how it was packed."""

    members: dict[str, bytes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    packing: list[Finding] = field(default_factory=list)


def unpack_zip(data: bytes) -> Unpacked:
    """The members of a zip file. Those of the canonical layout are read without zlib."""
    stored, broken = read_archive(data)
    found = archive_findings(data, stored) if broken is None else []
    if broken is None and all(finding.what != "archive.bytes" for finding in found):
        return Unpacked(dict(stored), found)
    listed = _listed(data)
    if broken is None and listed.findings:
        listed.members = dict(stored)  # the headers alone tell the members too, so what changed in one is named
        return listed
    if broken is not None and not listed.members:
        listed.findings.insert(0, broken)
    return listed


def unpack_folder(folder: Path) -> Unpacked:
    """The files of a folder that a bundle was unpacked into."""
    out, total = Unpacked(), 0
    found: list[tuple[str, bytes]] = []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if len(found) == MAX_MEMBERS:
            out.findings.append(Finding("folder.size", str(folder), f"at most {MAX_MEMBERS} files", "more"))
            break
        try:
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                out.findings.append(Finding("folder.file", name, "a plain file", "something else"))
                continue
            total += size
            if total > MAX_BUNDLE_BYTES:
                out.findings.append(Finding("folder.size", str(folder), f"at most {MAX_BUNDLE_BYTES} bytes", "more"))
                break
            found.append((name, path.read_bytes()))
        except OSError as error:
            out.findings.append(Finding("folder.file", name, "a readable file", error.strerror or str(error)))
    out.packing.append(Finding("packing", str(folder), "a zip file", "a folder"))
    return _tidied(out, found)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(files))
        yield from (Path(parent, name) for name in folders if Path(parent, name).is_symlink())


def _listed(data: bytes) -> Unpacked:
    """The members that the directory at the end of a zip lists, as zip programs read it."""
    out = Unpacked()
    found: list[tuple[str, bytes]] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_BUNDLE_BYTES:
                limits = f"at most {MAX_MEMBERS} members of {MAX_BUNDLE_BYTES} bytes together"
                out.findings.append(Finding("archive.size", "archive", limits, "more"))
                return out
            out.findings += _layout_findings(data, infos, archive.start_dir)
            for info in infos:
                if info.is_dir() and info.file_size == 0:
                    out.packing.append(Finding("packing", info.orig_filename, "no folders", "a folder"))
                    continue
                content = _content(archive, info, out)
                if content is not None:
                    found.append((info.orig_filename, content))
            out.packing += _packing(infos, archive.comment)
    except _UNREADABLE as error:
        out.findings.append(Finding("archive.directory", "archive", "a zip file that can be read", str(error)))
    return _tidied(out, found)


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, out: Unpacked) -> bytes | None:
    try:
        return archive.read(info)
    except _UNREADABLE as error:
        out.findings.append(Finding("archive.member", info.orig_filename, "a member that can be read", str(error)))
        return None


def _layout_findings(data: bytes, infos: Sequence[zipfile.ZipInfo], directory: int) -> Iterator[Finding]:
    """Bytes that no member accounts for, and headers that tell another reader something else than the directory."""
    reached, after = 0, "start of the archive"
    for info in sorted(infos, key=lambda one: one.header_offset):
        name = info.orig_filename
        if info.header_offset != reached:
            yield Finding(
                "archive.hidden", after, "nothing between members", f"bytes {reached} to {info.header_offset}"
            )
        if info.header_offset < 0 or info.header_offset + _LOCAL.size > len(data):
            yield Finding("archive.header", name, "a header inside the file", f"offset {info.header_offset}")
            return
        _, _, flags, method, _, _, crc, packed, size, name_length, extra = _LOCAL.unpack_from(data, info.header_offset)
        described = flags & _HAS_DESCRIPTOR
        told = (info.CRC, info.compress_size, info.file_size)
        same = described or packed == _IN_EXTRA_FIELD or (crc, packed, size) == told
        if not same or method != info.compress_type or (flags ^ info.flag_bits) & _ENCRYPTED:
            yield Finding("archive.header", name, "the sizes, checksum and method of the directory", "others")
        if name != info.filename or _OTHER_NAME in _extra_fields(info.extra):
            yield Finding("archive.path", name, "one name", f"another name, {info.filename!r}")
        reached = info.header_offset + _LOCAL.size + name_length + extra + info.compress_size
        if described:
            reached += _descriptor_bytes(data[reached : reached + 24], told)
        after = name
    if reached != directory:
        yield Finding(
            "archive.hidden", after, "nothing between members and directory", f"bytes {reached} to {directory}"
        )
    end = data.rfind(b"PK\x05\x06")
    length = int.from_bytes(data[end + _END_BYTES - 2 : end + _END_BYTES], "little")
    if end + _END_BYTES + length != len(data):
        yield Finding("archive.hidden", "archive", "nothing after the end record and its comment", "more bytes")


def _descriptor_bytes(found: bytes, told: tuple[int, int, int]) -> int:
    """Length of the record after a member whose sizes were not known when its header was written; 0 if it is none."""
    for layout in ("<3I", "<IQQ"):
        record = struct.pack(layout, *told)
        for candidate in (b"PK\x07\x08" + record, record):
            if found.startswith(candidate):
                return len(candidate)
    return 0


def _extra_fields(extra: bytes) -> set[int]:
    kinds, at = set(), 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        kinds.add(kind)
        at += 4 + length
    return kinds


def _packing(infos: Sequence[zipfile.ZipInfo], comment: bytes) -> Iterator[Finding]:
    files = [info for info in infos if not info.is_dir()]
    names = [info.orig_filename for info in files]
    ways = {
        "compressed": any(info.compress_type for info in files),
        "another order": names != sorted(names, key=member_order),
        "other times": any(info.date_time != (1980, 1, 1, 0, 0, 0) for info in files),
        "a comment": bool(comment),
    }
    said = ", ".join(way for way, found in ways.items() if found) or "other headers"
    yield Finding("packing", "archive", "the zip that Assay writes", said)


def _tidied(out: Unpacked, found: list[tuple[str, bytes]]) -> Unpacked:
    """Leave out what file managers drop into folders, and the one folder that all members may lie in."""
    kept = []
    for name, content in found:
        parts = name.split("/")
        if parts[-1] in _DROPPED or parts[-1].startswith("._") or parts[0] == "__MACOSX":
            out.packing.append(Finding("packing", name, "only members", "a file that a file manager left; not read"))
        else:
            kept.append((name, content))
    tops = {name.split("/", 1)[0] for name, _ in kept}
    if len(tops) == 1 and f"{(top := next(iter(tops)))}/{MANIFEST}" in dict(kept):
        kept = [(name.removeprefix(f"{top}/"), content) for name, content in kept]
        out.packing.append(Finding("packing", top, "members at the top", "all in one folder"))
    out.findings += name_findings([name for name, _ in kept])
    out.members = dict(kept)
    return out
