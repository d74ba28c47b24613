"""Which format a model file has, by its content; a pickle is refused whatever its name, also inside other files.

Nothing is loaded: opcodes of a pickle are read as text, archives are listed.
"""

import bz2
import io
import json
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Literal

from core.errors import InvalidError

Format = Literal["xgboost", "lightgbm", "catboost", "skops", "onnx"]
ACCEPTED: Final[Mapping[Format, str]] = {
    "xgboost": "XGBoost's JSON or UBJSON (`booster.save_model('model.ubj')`)",
    "lightgbm": "LightGBM's text (`booster.save_model('model.txt')`)",
    "catboost": "CatBoost's cbm (`model.save_model('model.cbm')`)",
    "skops": "scikit-learn in skops' format (`skops.io.dump(model, 'model.skops')`)",
    "onnx": "ONNX",
}
BEGINS: Final = 1 << 20  # bytes of a compressed file that are looked at
_COMPRESSED: Final[Mapping[bytes, str]] = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4",
    b"\x5d\x00\x00": "lzma", b"ZF": "old joblib",
}  # fmt: skip
_CALLS: Final = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "BUILD", "NEWOBJ", "OBJ", "NEWOBJ_EX"})


class ModelFileError(InvalidError):
    code = "model_file"


class PickledModelError(ModelFileError):
    code = "pickled_model"


def format_of(content: bytes, *, field: str = "explain.model") -> Format:
    """The format of a model file.

    Raises:
        PickledModelError: it is a pickle, or holds one: joblib, PyTorch, NumPy objects, whatever the file is called.
        ModelFileError: it is none of the accepted formats.
    """
    if not content:
        raise ModelFileError(f"{field}: the file is empty; copy it again. {_accepted()}", field=field)
    if (found := _plain(content)) is not None:
        return found
    if content.startswith(b"PK"):
        return _archive(content, field)
    if (what := _pickled(content)) is not None:
        raise _refused(what, field)
    raise ModelFileError(f"{field}: the file is {_other(content)}; {_accepted()}", field=field)


def _plain(content: bytes) -> Format | None:
    """By the first bytes, which in each of these formats no pickle has."""
    head = content[:64]
    ubjson = head.startswith((b"{L\x00", b"{l\x00", b"{i\x07", b"{U\x07")) and b"learner" in head
    if ubjson or _xgboost_json(content):
        return "xgboost"
    if head.startswith((b"tree\n", b"tree\r\n")):
        return "lightgbm"
    if head.startswith(b"CBM1"):
        return "catboost"
    return "onnx" if _onnx(content) else None


def _xgboost_json(content: bytes) -> bool:
    if not content[:64].lstrip().startswith(b"{"):
        return False
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
        return isinstance(found, dict) and isinstance(found.get("learner"), dict)
    return False


def _onnx(content: bytes) -> bool:
    """Whether the bytes are one protobuf message with the fields of ONNX' ModelProto: ir_version and a graph."""
    at, fields = 0, set()
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        if tag < 0 or (number, kind) not in _MODEL_FIELDS:
            return False
        size, at = _varint(content, at)
        if size < 0:
            return False
        at += size if kind == 2 else 0
        fields.add(number)
    return at == len(content) and {1, 7} <= fields


# onnx.proto: ir_version, producer_name, producer_version, domain, model_version, doc_string, graph, opset_import,
# metadata_props, training_info, functions, configuration; the second number is protobuf's wire type.
_MODEL_FIELDS: Final = {(1, 0), (5, 0), *((number, 2) for number in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))}


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; -1 where there is none."""
    value = 0
    for place in range(10):
        if at + place >= len(content):
            return -1, at
        byte = content[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    return -1, at


def _archive(content: bytes, field: str) -> Format:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                with archive.open(name) as part:
                    head = part.read(BEGINS)
                    if (what := _pickled(head, whole=archive.getinfo(name).file_size <= BEGINS)) is not None:
                        raise _refused(f"an archive that holds {what} ({name[:60]}), as PyTorch and NumPy write", field)
            if "schema.json" in archive.namelist():
                return "skops"
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        words = f"{field}: the file is a damaged or locked archive ({error}); copy it again"
        raise ModelFileError(words, field=field) from None
    raise ModelFileError(f"{field}: the file is a zip archive without schema.json of skops; {_accepted()}", field=field)


def _pickled(content: bytes, *, whole: bool = True) -> str | None:
    """What kind of pickle the bytes are; None if they are none."""
    if content.startswith(b"\x93NUMPY"):
        return "NumPy objects, which are pickled" if b"'O'" in content[:256] or b"|O" in content[:256] else None
    if _opcodes(content, whole=whole):
        return "a pickle"
    inner = _decompressed(content)
    return "a compressed pickle, as joblib writes" if inner and _opcodes(inner, whole=False) else None


def _opcodes(content: bytes, *, whole: bool) -> bool:
    """Whether the bytes are read as opcodes of a pickle, protocol 0 to 5: to its STOP, or till they end."""
    if content[:1] == b"\x80" and content[1:2] <= b"\x05" and len(content) > 2:
        return True
    called = count = 0
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(content)):
            count += 1
            called += opcode.name in _CALLS
            if opcode.name == "STOP":
                return count > 1
            if count > 100_000:
                return called > 0
    except Exception:  # noqa: BLE001 - whatever pickletools says of bytes that are no pickle
        return called > 0 and not whole
    return False


def _decompressed(content: bytes) -> bytes:
    """The beginning of what gzip, zlib, bzip2, xz or lzma compressed; nothing if none did."""
    with suppress(zlib.error):
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(content, BEGINS)
    with suppress(OSError, EOFError, ValueError):
        return bz2.BZ2Decompressor().decompress(content, BEGINS)
    with suppress(lzma.LZMAError, EOFError):
        return lzma.LZMADecompressor().decompress(content, BEGINS)
    return b""


def _other(content: bytes) -> str:
    for head, name in _COMPRESSED.items():
        if content.startswith(head):
            return f"compressed ({name}); give the file itself"
    if content.startswith(b"\x93NUMPY"):
        return "a NumPy array"
    if content.startswith(b"\x89HDF"):
        return "HDF5"
    if content.startswith((b"binf", b"bs64")):
        return "XGBoost's old binary format; load it with the XGBoost that wrote it and save it as JSON or UBJSON"
    return "of no format that is known here"


def _accepted() -> str:
    return f"accepted are {', '.join(ACCEPTED.values())}"


def _refused(what: str, field: str) -> PickledModelError:
    return PickledModelError(
        f"{field}: the file is {what}, whatever its name; loading one runs code that it names, so it is refused. Save "
        f"the model again: {_accepted()}", field=field,
    )  # fmt: skip
