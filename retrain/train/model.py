"""Trained models, loaded as they were trained: an adapter beside its base, in 4 bits or 16, or one whole model."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from monitor.levels import level
from retrain.train.base_model import load_base, load_tokenizer, pick_device, quiet
from retrain.train.chat import PLAIN, Fitted, Parts, text_format, tokens_of
from retrain.train.chat_keys import Chat
from retrain.train.conversation import Dropped
from retrain.train.kinds import Architecture
from retrain.train.shape import is_quantised, is_whole, saved_chat
from retrain.train.weights import check_adapter, check_base

Model = PreTrainedModel | PeftModel
Probabilities = NDArray[np.float32]

# Default numbers of tokens: the default of a recipe, and the context of a small generator.
CLASSIFIER_LENGTH: Final = 64
GENERATOR_LENGTH: Final = 1024


class Classifier:
    """A sequence classifier: texts in, label probabilities out."""

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        device: torch.device,
        max_length: int,
    ) -> None:
        self.model, self.tokenizer, self.device, self.max_length = model, tokenizer, device, max_length
        self.labels = list(labels)

    def logits(self, texts: Sequence[str], batch_size: int = 64) -> Probabilities:
        """Unnormalised scores, float32, shape (texts, labels)."""
        result = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        if not texts:
            return result
        tokens = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"]
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode(), _autocast(self.device):
            for rows in _by_length([len(ids) for ids in tokens], batch_size):
                batch = padded([tokens[i] for i in rows], cast(int, self.tokenizer.pad_token_id), self.device)
                result[rows] = self.model(**batch).logits.float().cpu().numpy()
        self.model.train(was_training)
        return result

    def predict_proba(self, texts: Sequence[str], batch_size: int = 64) -> Probabilities:
        """Probability of each label, float32, shape (texts, labels); rows sum to 1, columns follow `labels`."""
        scores = self.logits(texts, batch_size)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return cast(Probabilities, scores / scores.sum(axis=1, keepdims=True))

    def predict(self, texts: Sequence[str], batch_size: int = 64) -> tuple[list[str], NDArray[np.float32]]:
        """The most probable label of each text and its probability."""
        shares = self.predict_proba(texts, batch_size)
        best = shares.argmax(axis=1)
        return [self.labels[i] for i in best], shares[np.arange(len(best)), best]

    def without_adapter(self) -> AbstractContextManager[None]:
        """Inside, the model answers as its base does; rows of labels the base never knew score 0."""
        return _adapter_off(self.model)


class Generator:
    """A causal language model: prompts in, completions and their token probabilities out."""

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device,
        max_length: int,
        chat: Chat = PLAIN,
    ) -> None:
        self.model, self.tokenizer, self.device, self.max_length = model, tokenizer, device, max_length
        self.format = text_format(tokenizer, chat)

    def generate(self, prompts: Sequence[str], max_new_tokens: int = 64, batch_size: int = 32) -> list[str]:
        """The most probable continuation of each prompt (greedy), without special tokens.

        A prompt longer than the limit keeps its end. What the format cannot ask is answered by an empty text. Where a
        model has positions for fewer tokens, only the answers to its long prompts are shorter.
        """
        asked = [self._question(parts, max_new_tokens) for parts in self.format.questions(prompts)]
        result = [""] * len(prompts)
        self.model.eval()
        with torch.inference_mode(), _autocast(self.device), quiet():
            for rows, most in self._batches([len(ids) for ids in asked], max_new_tokens, batch_size):
                self._write([asked[i] for i in rows], most, rows, result)
        return result

    def _write(self, asked: list[list[int]], most: int, rows: list[int], result: list[str]) -> None:
        """Put the answers of one batch, of at most so many tokens, into `result` at `rows`."""
        pad = cast(int, self.tokenizer.pad_token_id)
        batch = padded(asked, pad, self.device, left=True)
        made = cast(Any, self.model).generate(
            **batch, max_new_tokens=most, do_sample=False, pad_token_id=pad, use_cache=True, **self._stops()
        )
        for i, ids in zip(rows, made[:, batch["input_ids"].shape[1] :], strict=True):
            result[i] = self.format.answer(str(self.tokenizer.decode(ids, skip_special_tokens=True)))

    def _batches(self, lengths: Sequence[int], most: int, size: int) -> Iterator[tuple[list[int], int]]:
        """Rows of each batch, and how many tokens their answers may have; rows without a question are left out."""
        virtual = _virtual_tokens(self.model)
        positions = getattr(self.model.config, "max_position_embeddings", None)
        free = sys.maxsize if positions is None else int(positions) - virtual
        whole = [i for i, n in enumerate(lengths) if n and n + most <= free]
        tight = [i for i, n in enumerate(lengths) if n and n + most > free]
        for few in (whole, tight):
            for rows in _by_length([lengths[i] for i in few], size, alike=bool(virtual) or few is tight):
                longest = max(lengths[few[i]] for i in rows)
                yield [few[i] for i in rows], max(1, min(most, free - longest))

    def room(self, answers: Sequence[str]) -> int:
        """How many tokens an answer may have that is compared with these: twice the longest of them, if it fits."""
        longest = max((len(ids) for ids in tokens_of(self.tokenizer, list(answers))), default=0)
        return min(2 * longest + 8, self.max_length)

    def token_logprobs(
        self, prompts: Sequence[str], completions: Sequence[str], batch_size: int = 32
    ) -> list[NDArray[np.float32]]:
        """Natural-log probability of each completion token (its end token included) given what precedes it.

        A prompt longer than the limit keeps its end; a completion is cut at the limit, as in training. Empty for a row
        of which nothing can be scored.
        """
        fitted = [
            None if isinstance(parts, Dropped) else self.format.scored(parts, self.max_length)
            for parts in self.format.rows(prompts, completions)
        ]
        return self._logprobs([None if isinstance(row, Dropped) else row for row in fitted], batch_size)

    def answer_logprobs(
        self, prompts: Sequence[str], completion: str, batch_size: int = 64
    ) -> list[NDArray[np.float32]]:
        """The same for one whole answer to each prompt: only prompts are cut.

        Empty for a prompt that the format cannot ask, or that leaves no room for the answer.
        """
        fitted = [self.whole(parts) for parts in self.format.rows(prompts, [completion] * len(prompts))]
        return self._logprobs(fitted, batch_size)

    def cut(self, parts: Parts) -> int:
        """How many tokens of a question are cut off, after those that stay, so that its whole answer fits."""
        return max(0, len(parts.head) + len(parts.tail) - self.max_length)

    def whole(self, parts: Parts | Dropped) -> Fitted | None:
        """A question, cut if it must be, with its whole answer; None where there is no room for it."""
        if isinstance(parts, Dropped) or (cut := self.cut(parts)) > max(0, len(parts.head) - parts.kept):
            return None
        head = [*parts.head[: parts.kept], *parts.head[parts.kept + cut :]]
        if not head:  # an empty prompt of a tokenizer without a token that begins a text
            head = [cast(int, self.tokenizer.eos_token_id or self.tokenizer.pad_token_id)]
        return Fitted([*head, *parts.tail], [], len(head))

    def _logprobs(self, fitted: Sequence[Fitted | None], batch_size: int) -> list[NDArray[np.float32]]:
        result: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)] * len(fitted)
        usable = [(i, row) for i, row in enumerate(fitted) if row is not None]
        self.model.eval()
        with torch.inference_mode(), _autocast(self.device):
            for rows in _by_length([len(row.ids) for _, row in usable], batch_size):
                batch = padded([usable[i][1].ids for i in rows], cast(int, self.tokenizer.pad_token_id), self.device)
                logits = self.model(**batch).logits[:, -batch["input_ids"].shape[1] :]  # without virtual tokens
                scores = torch.log_softmax(logits[:, :-1].float(), dim=-1)
                picked = scores.gather(2, batch["input_ids"][:, 1:, None])[:, :, 0].cpu().numpy()
                for (i, row), line in zip((usable[i] for i in rows), picked, strict=True):
                    result[i] = line[max(0, row.answer - 1) : len(row.ids) - 1]
        return result

    def without_adapter(self) -> AbstractContextManager[None]:
        """Inside, the model answers as its base does."""
        return _adapter_off(self.model)

    def _question(self, parts: Parts | Dropped, most: int) -> list[int]:
        """The tokens of a question; of one that leaves no token for its answer the end, so that a quarter is left."""
        if isinstance(parts, Dropped):
            return []
        if len(parts.head) < self.max_length:
            return list(parts.head)
        room = self.max_length - parts.kept - min(most, max(1, self.max_length // 4))
        return [*parts.head[: parts.kept], *parts.head[parts.kept :][-max(1, room) :]]

    def _stops(self) -> dict[str, Any]:
        """The tokens that end an answer: the format's, and those that the base names."""
        named = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        base = [named] if isinstance(named, int) else list(named or ())
        stops = list(dict.fromkeys([*self.format.stops, *base]))
        return {"eos_token_id": stops} if stops else {}


def load_classifier(
    base_dir: Path,
    adapter_dir: Path | None = None,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 2,
    quantise: bool | None = None,
    max_length: int | None = None,
) -> Classifier:
    """A base, or a base with an adapter, ready to answer.

    `quantise` loads the base in 4 bits. Without it, an adapter gets its base as in training, for it corrects that, and
    a base without an adapter is in 4 bits. A whole model, as `full` saves it, takes the place of the base.

    `max_length` in tokens: without it, what the adapter was trained at.
    """
    labels = _labels(base_dir, adapter_dir)
    model, tokenizer, where = _loaded(
        "sequence_classification", base_dir, adapter_dir, labels, device, threads, quantise
    )
    length = max_length or _trained_length(adapter_dir) or CLASSIFIER_LENGTH
    return Classifier(model, tokenizer, labels, where, length)


def load_generator(
    base_dir: Path,
    adapter_dir: Path | None = None,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 2,
    quantise: bool | None = None,
    max_length: int | None = None,
    chat: Chat = PLAIN,
) -> Generator:
    """A causal base, or a base with an adapter, ready to complete prompts.

    What was trained is asked in the format that it was trained with; `chat` is that of a base without an adapter.
    """
    model, tokenizer, where = _loaded("causal_lm", base_dir, adapter_dir, (), device, threads, quantise)
    length = max_length or _trained_length(adapter_dir) or GENERATOR_LENGTH
    return Generator(model, tokenizer, where, length, chat if adapter_dir is None else saved_chat(adapter_dir))


def _loaded(
    architecture: Architecture,
    base_dir: Path,
    adapter_dir: Path | None,
    labels: Sequence[str],
    device: str,
    threads: int,
    quantise: bool | None,
) -> tuple[Model, PreTrainedTokenizerBase, torch.device]:
    check_base(base_dir)
    torch.set_num_threads(threads)
    where = pick_device(device)
    tokenizer = load_tokenizer(base_dir)
    whole = adapter_dir is not None and is_whole(adapter_dir)
    folder = adapter_dir if adapter_dir is not None and whole else base_dir
    bits = is_quantised(adapter_dir) if quantise is None else quantise
    model: Model = load_base(folder, architecture, labels, where, quantise=bits, pad=tokenizer.pad_token_id)
    if adapter_dir is not None and not whole:
        model = _with_adapter(model, adapter_dir)
    model.eval()
    return model, tokenizer, where


def _with_adapter(model: Model, adapter_dir: Path) -> PeftModel:
    check_adapter(adapter_dir)
    with quiet():
        return PeftModel.from_pretrained(
            cast(Any, model), str(adapter_dir), is_trainable=False, use_safetensors=True, local_files_only=True
        )


def _labels(base_dir: Path, adapter_dir: Path | None) -> list[str]:
    if adapter_dir is not None:
        check_adapter(adapter_dir)
        kept = [str(x) for x in json.loads((adapter_dir / "labels.json").read_text(encoding="utf-8"))]
    else:
        names = json.loads((base_dir / "config.json").read_text(encoding="utf-8")).get("id2label") or {}
        kept = [str(names[key]) for key in sorted(names, key=int)]
    return [level(name) or name for name in kept]  # `True` is true, as in events; an adapter may be older than levels


def _trained_length(adapter_dir: Path | None) -> int | None:
    record = adapter_dir / "run.json" if adapter_dir is not None else None
    if record is None or not record.is_file():
        return None
    return int(json.loads(record.read_text(encoding="utf-8"))["config"]["recipe"]["max_length"])


def _adapter_off(model: Model) -> AbstractContextManager[None]:
    return cast(Any, model).disable_adapter() if isinstance(model, PeftModel) else nullcontext()


def _autocast(device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


def _virtual_tokens(model: Model) -> int:
    """How many stand before each text; padding between them and the text would move its positions."""
    config = model.active_peft_config if isinstance(model, PeftModel) else None
    return int(getattr(config, "num_virtual_tokens", None) or 0)


def _by_length(lengths: Sequence[int], batch_size: int, *, alike: bool = False) -> Iterator[list[int]]:
    """Row indices in batches of like length, so that little is padding; with `alike` of one length, so that none is."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    start = 0
    while start < len(order):
        end = min(start + batch_size, len(order))
        while alike and lengths[order[end - 1]] != lengths[order[start]]:
            end -= 1
        yield order[start:end]
        start = end


def padded(rows: list[list[int]], pad: int, device: torch.device, *, left: bool = False) -> dict[str, torch.Tensor]:
    width = max(1, *(len(row) for row in rows))
    fill = [(width - len(row)) for row in rows]
    ids = [[pad] * n + row if left else row + [pad] * n for row, n in zip(rows, fill, strict=True)]
    mask = [[0] * n + [1] * len(row) if left else [1] * len(row) + [0] * n for row, n in zip(rows, fill, strict=True)]
    return {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": torch.tensor(mask, device=device),
    }
