"""The process that encodes the texts of a file as vectors; only this module of the monitor loads a sentence encoder.

    python -m monitor.profile.encode_process CONFIG

It reads texts in pieces and writes the vectors of each piece, so memory does not grow with the number of texts.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from core.artifacts import write_durably

TEXTS_PER_PIECE: Final = 2_048  # whose vectors are in memory at a time
TEXTS_PER_BATCH: Final = 64  # that the model encodes at a time


def encode_file(config: dict[str, Any]) -> None:
    """Write the vector of every text, in order, to a .npy file of 32-bit floats, shape (texts, dimensions)."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(config["threads"])
    device = None if config["device"] == "auto" else config["device"]
    model = SentenceTransformer(
        config["folder"], device=device, local_files_only=True, trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )  # fmt: skip
    texts = pl.read_parquet(config["texts"])["text"]
    out = None
    for start in range(0, len(texts), TEXTS_PER_PIECE):
        piece = model.encode(
            texts[start : start + TEXTS_PER_PIECE].to_list(),
            batch_size=TEXTS_PER_BATCH,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        if out is None:
            shape = (len(texts), piece.shape[1])
            out = np.lib.format.open_memmap(config["vectors"], mode="w+", dtype=np.float32, shape=shape)
        out[start : start + TEXTS_PER_PIECE] = piece
    assert out is not None  # the file has at least one text
    out.flush()


def main(path: str) -> None:
    config = json.loads(Path(path).read_text())
    try:
        encode_file(config)
        report = {"state": "succeeded"}
    except Exception as error:  # noqa: BLE001 - whatever a model's files cause is reported to the caller
        report = {"state": "failed", "message": f"{type(error).__name__}: {str(error)[:500]}"}
    write_durably(Path(config["exit"]), json.dumps(report).encode())


if __name__ == "__main__":
    main(sys.argv[1])
