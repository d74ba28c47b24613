"""Encode texts as vectors with the model that a spec names, in a process of its own; no vector is stored on disk.

Only the profile of a block is stored. A text is encoded when its block ends, and again only when a late row or a
confirmation needs its block. Equal texts are encoded once. Vectors of the newest texts stay in memory for a while,
because a reference is profiled right after it is fitted, and an alarm is confirmed soon after its window is judged.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.cache import Cache, CacheKind
from core.errors import InvalidError
from core.process import Child
from monitor.profile.coding import TEXT_FIELD, VECTOR_FIELD, dimensions_of
from monitor.site import Site
from monitor.spec.columns import Encoder
from monitor.spec.model import ModelSpec

ENCODE_TIMEOUT_S: Final = 3600.0
LIBRARY: Final = "sentence_transformers"
MAX_CACHED_TEXTS: Final = 50_000  # texts whose vectors stay in memory: 77 MB of 384 numbers each


@dataclass(frozen=True)
class _EncodedTexts:
    texts: pl.Series
    vectors: NDArray[np.float32]


NEWEST_VECTORS: Final = CacheKind[str, _EncodedTexts]("vectors of the newest texts by folder of the encoder", most=4)


class EncoderError(InvalidError):
    """A text encoder of the spec cannot be used; the message says what would help."""

    code = "encoder_unusable"


@dataclass(frozen=True, slots=True)
class Encoding:
    """Which text columns of a model are encoded, and how; small enough to pass to another process."""

    encoders: Mapping[str, Encoder]  # by column
    home: Path
    threads: int
    device: str


def encoding_of(site: Site, spec: ModelSpec) -> Encoding:
    """The encoders of a spec, with the settings of the installation."""
    train = site.settings.train
    return Encoding(spec.encoders, site.settings.home_dir, train.threads, train.device)


def with_vectors(encoding: Encoding, frame: pl.DataFrame, cache: Cache) -> pl.DataFrame:
    """The rows, where each text column with an encoder becomes a struct of the text and its vector.

    Raises:
        EncoderError: the optional library or the model is missing, has no safetensors, or fails on the texts.
    """
    for name, encoder in encoding.encoders.items():
        if name not in frame.columns:
            continue
        texts = frame[name].cast(pl.String)
        present = texts.str.strip_chars().str.len_bytes().fill_null(0) > 0
        distinct = texts.filter(present).unique().sort()
        vectors = _encoded(encoding, encoder, distinct, f"columns.{name}.encoder", cache)
        at = texts.replace_strict(
            distinct, pl.int_range(len(distinct), eager=True), default=None, return_dtype=pl.Int64
        )
        lists = pl.Series(VECTOR_FIELD, vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).gather(at)
        both = pl.DataFrame([texts.alias(TEXT_FIELD), lists.cast(pl.List(pl.Float32))])
        frame = frame.with_columns(both.to_struct(name))
    return frame


def with_vectors_if_possible(
    encoding: Encoding, frame: pl.DataFrame, dimensions: Mapping[str, int], cache: Cache
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The rows as `with_vectors` returns them; a text column that cannot be encoded gets no vectors, but a reason.

    Args:
        dimensions: numbers per vector of each text column in the reference; a model with other dimensions is refused.

    Returns:
        The rows, and the reason for each text column that could not be encoded.
    """
    reasons = {}
    for name, encoder in encoding.encoders.items():
        if name not in frame.columns:
            continue
        try:
            encoded = with_vectors(replace(encoding, encoders={name: encoder}), frame, cache)
            found, field = dimensions_of(encoded[name]), f"columns.{name}.encoder"
            if found not in (1, dimensions[name]):
                raise EncoderError(
                    f"{field}.model {encoder.model} makes vectors of {found} numbers, but those of the reference have "
                    f"{dimensions[name]}; restore the model of the reference, or begin a new reference", field=field,
                )  # fmt: skip
            frame = encoded
        except EncoderError as error:
            reasons[name] = error.message
            none = pl.lit(None, dtype=pl.List(pl.Float32)).alias(VECTOR_FIELD)
            frame = frame.with_columns(pl.struct(pl.col(name).cast(pl.String).alias(TEXT_FIELD), none).alias(name))
    return frame, reasons


def is_available(encoding: Encoding) -> bool:
    """Whether the library and every model can be found; nothing is loaded."""
    try:
        for name, encoder in encoding.encoders.items():
            encoder_folder(encoder, encoding.home, f"columns.{name}.encoder")
    except EncoderError:
        return False
    return find_spec(LIBRARY) is not None


def encoder_folder(encoder: Encoder, home: Path, field: str) -> Path:
    """Folder of the model: a path (relative to the home folder), or a pinned snapshot in the hub cache.

    Nothing is downloaded.

    Raises:
        EncoderError: the folder is missing or has no weights as safetensors.
    """
    if encoder.is_path:  # one answer for whatever holds no model: a spec must not tell which folders there are
        try:
            folder = (home / Path(encoder.model).expanduser()).resolve()
            there = any(folder.glob("*.safetensors"))
        except (OSError, RuntimeError, ValueError):
            there = False
        if not there:
            raise EncoderError(
                f"{field}.model {encoder.model} is no folder with *.safetensors on this machine; save the model's "
                "weights as safetensors, because pickled ones are never loaded", field=f"{field}.model",
            )  # fmt: skip
        return folder
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(encoder.model, "config.json", revision=encoder.revision)
    if not isinstance(found, str):
        raise EncoderError(
            f"{field}.model {encoder.model} at {encoder.revision} is not in the local hub cache; download it "
            "first (encoding never uses the network), or name a folder", field=f"{field}.model",
        )  # fmt: skip
    folder = Path(found).parent
    if not any(folder.glob("*.safetensors")):
        raise EncoderError(
            f"{field}.model {encoder.model} has no *.safetensors; save the model's weights as safetensors, because "
            "pickled ones are never loaded", field=f"{field}.model",
        )  # fmt: skip
    return folder


def _encoded(encoding: Encoding, encoder: Encoder, texts: pl.Series, field: str, cache: Cache) -> NDArray[np.float32]:
    """Vectors of the texts, shape (texts, dimensions); shape (0, 1) without a text."""
    if not len(texts):
        return np.zeros((0, 1), dtype=np.float32)
    folder = encoder_folder(encoder, encoding.home, field)
    known = cache.find(NEWEST_VECTORS, str(folder))
    missing = texts if known is None else texts.filter(~texts.is_in(known.texts.implode()))
    found = _EncodedTexts(missing, _encode_in_process(encoding, folder, missing, field)) if len(missing) else None
    parts = [part for part in (known, found) if part is not None]
    every = pl.concat([part.texts for part in parts])
    at = texts.replace_strict(every, pl.int_range(len(every), eager=True), return_dtype=pl.Int64).to_numpy()
    vectors: NDArray[np.float32] = np.concatenate([part.vectors for part in parts])[at]
    cache.put(NEWEST_VECTORS, str(folder), _EncodedTexts(texts[:MAX_CACHED_TEXTS], vectors[:MAX_CACHED_TEXTS]))
    return vectors


def _encode_in_process(encoding: Encoding, folder: Path, texts: pl.Series, field: str) -> NDArray[np.float32]:
    if find_spec(LIBRARY) is None:
        raise EncoderError(
            f"{field} needs the optional library sentence-transformers in the worker; install assay[encoders]",
            field=field,
        )
    parent = encoding.home / "runs"
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=parent, prefix="encode-"))  # holds texts, so it is removed at the end
    try:
        pl.DataFrame({"text": texts}).write_parquet(work / "texts.parquet")
        config = {
            "folder": str(folder), "texts": str(work / "texts.parquet"), "vectors": str(work / "vectors.npy"),
            "exit": str(work / "exit.json"), "threads": encoding.threads,
            "device": encoding.device,
        }  # fmt: skip
        (work / "config.json").write_text(json.dumps(config))
        child = Child(
            "monitor.profile.encode_process", [str(work / "config.json")], log=work / "log.txt",
            threads=encoding.threads,
        )  # fmt: skip
        child.wait(ENCODE_TIMEOUT_S, lambda: None)
        _check_exit_report(work / "exit.json", field)
        vectors: NDArray[np.float32] = np.load(work / "vectors.npy", allow_pickle=False)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return vectors


def _check_exit_report(report: Path, field: str) -> None:
    if not report.is_file():
        raise EncoderError(
            f"{field}: the encoding process was killed, or took longer than {ENCODE_TIMEOUT_S:.0f} s", field=field
        )
    found = json.loads(report.read_text())
    if found["state"] != "succeeded":
        raise EncoderError(f"{field}: the model cannot encode: {found['message']}", field=field)
