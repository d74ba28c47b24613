"""What the teacher answers to the training rows, asked once, before the student is loaded, and kept on disk.

Only one of the two models is in memory at a time. A killed run goes on where it stopped asking. Scores are read from
the files as rows are trained on; the files lie among the run's checkpoints and go with them.
"""

import gc
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from retrain.train.config import RunConfig, Teacher
from retrain.train.errors import DataDigestError, DataError
from retrain.train.model import Classifier, Generator, load_classifier, load_generator, padded
from retrain.train.progress import write_json
from retrain.train.weights import folder_digest

ROWS: Final = 512  # asked of the teacher at a time
TOKENS_KEPT: Final = 32  # likeliest next tokens that are kept of each place; the others together are one more
DONE: Final = "teacher.json"
Asked = Callable[[int, int], None]  # told how many rows of how many the teacher was asked; may stop the run


@dataclass(frozen=True, eq=False)
class Lessons:
    """What is learned from a teacher, by row; `facts` say of it what the record of the run keeps."""

    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class ClassLessons(Lessons):
    """The teacher's scores of the labels that both models have. `student`: which of the student's they are."""

    scores: NDArray[np.float32]  # (rows, labels of the teacher)
    teacher: tuple[int, ...]
    student: tuple[int, ...]

    def of(self, rows: Sequence[int]) -> torch.Tensor:
        """Shape (rows, shared labels)."""
        return torch.from_numpy(np.ascontiguousarray(self.scores[list(rows)][:, list(self.teacher)]))


@dataclass(frozen=True, eq=False)
class TokenLessons(Lessons):
    """The teacher's likeliest next tokens at each place of a row whose token is learned, at the run's temperature."""

    starts: NDArray[np.int64]  # of each row, and the end of the last
    tokens: NDArray[np.int32]  # (places, TOKENS_KEPT or the whole vocabulary)
    shares: NDArray[np.float32]  # of the same shape

    def of(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and their probabilities of all places of some rows, one after the other."""
        at = np.concatenate([np.arange(self.starts[i], self.starts[i + 1]) for i in rows])
        return torch.from_numpy(self.tokens[at].astype(np.int64)), torch.from_numpy(self.shares[at])


def class_lessons(
    config: RunConfig, texts: Sequence[str], labels: Sequence[str], folder: Path, asked: Asked
) -> ClassLessons:
    """Ask the teacher for its scores of every text.

    Labels are matched by name. A row of a label that the teacher does not have learns from its label alone.

    Raises:
        DataError: teacher and run share fewer than two labels, or a score is not finite.
        DataDigestError: the files of the teacher's base are others than those it was registered with.
    """
    begin = time.monotonic()
    made = folder / "scores.npy"
    if (found := _kept(folder, made)) is None:
        model = _classifier(config)
        _check_shared(config, model.labels)
        rows = np.lib.format.open_memmap(
            made, mode="r+" if made.is_file() else "w+", dtype=np.float32, shape=(len(texts), len(model.labels))
        )
        for part in _parts(folder, len(texts), {"labels": model.labels}, asked):
            rows[part] = _finite(model.logits(texts[part]), config)
            rows.flush()
        del rows, model
        _free()
        found = _kept(folder, made)
    scores, names = np.load(made, mmap_mode="r", allow_pickle=False), list((found or {})["labels"])
    shared = [(names.index(name), i) for i, name in enumerate(config.labels) if name in names]
    known = np.array([name in names and name in config.labels for name in labels])
    answered = [names[int(row.argmax())] for row in scores]
    right = [a == b for a, b, k in zip(answered, labels, known, strict=True) if k]
    facts = _facts(config, begin) | {
        "labels_shared": len(shared),
        "labels_of_outcomes_alone": [name for name in config.labels if name not in names],
        "rows_taught": int(known.sum()), "rows_of_outcomes_alone": int((~known).sum()),
        "agrees_with_outcomes": float(np.mean(right)) if right else None,
    }  # fmt: skip
    return ClassLessons(facts, scores, tuple(t for t, _ in shared), tuple(s for _, s in shared))


def token_lessons(config: RunConfig, rows: Sequence[dict[str, Any]], folder: Path, asked: Asked) -> TokenLessons:
    """Ask the teacher for the next token at every place of `{input_ids, labels}` rows that has a label.

    Only the likeliest tokens are kept, with the probability of the others in one sum, so that the files stay small.

    Raises:
        DataError: a score is not finite, or the disk has no room for the files.
        DataDigestError: the files of the teacher's base are others than those it was registered with.
    """
    begin = time.monotonic()
    starts = np.cumsum([0, *(len(places(row["labels"])) for row in rows)])
    files = folder / "tokens.npy", folder / "shares.npy"
    if _kept(folder, *files) is None:
        model = _generator(config)
        kept = min(TOKENS_KEPT, len(model.tokenizer))
        shape = int(starts[-1]), kept
        _check_room(folder, shape[0] * kept * 8)
        tokens, shares = (
            np.lib.format.open_memmap(file, mode="r+" if file.is_file() else "w+", dtype=kind, shape=shape)
            for file, kind in zip(files, (np.int32, np.float32), strict=True)
        )
        for part in _parts(folder, len(rows), {"places": shape[0]}, asked):
            for i, likeliest in zip(range(part.start, part.stop), _next(model, rows[part], config, kept), strict=True):
                tokens[starts[i] : starts[i + 1]], shares[starts[i] : starts[i + 1]] = likeliest
            tokens.flush()
            shares.flush()
        del tokens, shares, model
        _free()
    read = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
    facts = _facts(config, begin) | {"rows_taught": len(rows), "tokens_taught": int(starts[-1])}
    return TokenLessons(facts, starts, read[0], read[1])


def places(labels: Sequence[int]) -> list[int]:
    """Positions of a row from which a learned token is predicted: each the one before it."""
    return [i for i, label in enumerate(labels[1:]) if label != -100]


def _next(
    model: Generator, rows: Sequence[dict[str, Any]], config: RunConfig, kept: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Tokens and probabilities of each row's places."""
    pad, words = cast(int, model.tokenizer.pad_token_id), len(model.tokenizer)
    size = max(1, min(len(rows), 8192 // max(len(row["input_ids"]) for row in rows)))
    for first in range(0, len(rows), size):
        few = rows[first : first + size]
        batch = padded([row["input_ids"] for row in few], pad, model.device)
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=model.device.type == "cuda"):
            logits = model.model(**batch).logits[:, -batch["input_ids"].shape[1] :, :words]  # without virtual tokens
        for row, found in zip(few, logits, strict=True):
            scores = found[places(row["labels"])].float() / config.recipe.temperature
            best = torch.softmax(scores, dim=-1).topk(kept)
            yield best.indices.cpu().numpy().astype(np.int32), _finite(best.values.cpu().numpy(), config)


def _parts(folder: Path, count: int, facts: dict[str, Any], asked: Asked) -> Iterable[slice]:
    """Slices of the rows that were not asked yet; what is done is written down after each."""
    done = int((_read(folder) or {}).get("rows", 0))
    asked(done, count)
    for first in range(done, count, ROWS):
        last = min(first + ROWS, count)
        yield slice(first, last)
        write_json(folder / DONE, {"rows": last, "whole": last == count, **facts})
        asked(last, count)


def _kept(folder: Path, *files: Path) -> dict[str, Any] | None:
    """What is known of answers that are whole; None where some are missing."""
    found = _read(folder)
    if found is None or not all(file.is_file() for file in files):
        shutil.rmtree(folder, ignore_errors=True)  # files that were cut short before the first answers were in them
        folder.mkdir(parents=True)
        return None
    return found if found["whole"] else None


def _read(folder: Path) -> dict[str, Any] | None:
    file = folder / DONE
    found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    return found


def _classifier(config: RunConfig) -> Classifier:
    given = _given(config)
    adapter = given["adapter_dir"]
    return load_classifier(**given, max_length=None if adapter is not None else config.recipe.max_length)


def _generator(config: RunConfig) -> Generator:
    return load_generator(**_given(config), max_length=config.recipe.max_length)


def _given(config: RunConfig) -> dict[str, Any]:
    """How a teacher is loaded: as it was trained and judged, after its files were found to be those registered."""
    teacher, base = cast(Teacher, config.teacher), cast(Path, config.teacher_dir)
    if (found := folder_digest(base)) != teacher.base_digest:
        raise DataDigestError("teacher", base, teacher.base_digest, found)
    bare = config.recipe.method == "qlora" if teacher.adapter is None else None
    return {
        "base_dir": base, "adapter_dir": teacher.adapter, "device": config.device, "threads": config.threads,
        "quantise": bare,
    }  # fmt: skip


def _facts(config: RunConfig, begin: float) -> dict[str, Any]:
    teacher, recipe = cast(Teacher, config.teacher), config.recipe
    return {
        "of": "champion", "version": teacher.version, "base_model": teacher.base_model,
        "base_digest": teacher.base_digest,
        "adapter": None if teacher.adapter is None else f"sha256:{teacher.adapter.name}",
        "weight": recipe.teacher_weight, "temperature": recipe.temperature,
        "seconds": round(time.monotonic() - begin, 3),
    }  # fmt: skip


def _check_shared(config: RunConfig, names: Sequence[str]) -> None:
    if len(set(names) & set(config.labels)) < 2:
        raise DataError(
            f"recipe.teacher: the champion answers {', '.join(names[:20])} and the run learns "
            f"{', '.join(config.labels[:20])}; fewer than two labels are alike, so it teaches nothing; leave it out",
            field="recipe.teacher",
        )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"recipe.teacher: the champion's answers need {needed / 1e9:.1f} GB on disk, and {free / 1e9:.1f} GB are "
            "free; free some, or lower envelope.max_rows",
            field="recipe.teacher",
        )


def _finite(scores: NDArray[np.float32], config: RunConfig) -> NDArray[np.float32]:
    if not np.isfinite(scores).all():
        version = cast(Teacher, config.teacher).version
        raise DataError(
            f"recipe.teacher: champion {version} gives scores that are not finite; leave teacher out, or roll back",
            field="recipe.teacher",
        )
    return scores


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
