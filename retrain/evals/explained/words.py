"""A classifier of texts, explained by the words of each text on the adapter that serves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch

from core.arrays import Floats
from core.errors import AppError, InvalidError
from monitor.explain.answers import label_of
from monitor.explain.base import TextExplanation
from monitor.explain.text import Reading, explain_texts
from retrain.evals.explained.base import Asked, Document, ExplainedModel, document
from retrain.evals.explained.opinions import Question, second_opinions
from retrain.train.model import Classifier, load_classifier

# Shortened texts in one batch: on two cores 100 messages took 2.7 s with 48, 3.0 s with 64 and 3.5 s with 128.
AT_ONCE: Final = 48


class ExplainedClassifier:
    """`model` answers each text with one of its labels."""

    def __init__(self, model: Classifier) -> None:
        self.model = model

    @classmethod
    def load(cls, model: ExplainedModel) -> "ExplainedClassifier":
        files = model.files
        return cls(
            load_classifier(
                files.base_dir, files.adapter_dir, device=model.device, threads=model.threads, quantise=files.quantise,
                max_length=model.max_length,
            )
        )  # fmt: skip

    def explain(self, asked: Asked) -> list[Document | AppError]:
        found: list[Document | AppError] = []
        texts, indices = list[str](), list[int]()
        own = self._own([one.input for one in asked.decisions])
        for one, answer in zip(asked.decisions, own, strict=True):
            try:
                if not one.input.strip():
                    raise InvalidError("the text has no words, so nothing can be attributed", field="event_id")
                label = answer if one.answer is None else label_of(one.answer, self.model.labels)
            except AppError as error:
                found.append(error)
                continue
            texts.append(one.input)
            indices.append(self.model.labels.index(label))
            found.append({"model_answer": answer})
        records = iter(
            explain_texts(
                texts, self.outputs, indices, labels=self.model.labels, reading=self.reading,
                max_evals=asked.max_evals, seed=asked.seed,
            )
        )  # fmt: skip
        asked_of = iter(texts)
        return [
            one if isinstance(one, AppError) else self._document(next(records), next(asked_of), asked, **one)
            for one in found
        ]

    def _document(self, record: TextExplanation, text: str, asked: Asked, *, model_answer: str) -> Document:
        if asked.opinions:
            question = self._question(record, text)
            found = second_opinions(asked.opinions, record, self.model.model, question, asked.seed)
            record = replace(record, opinions=found)
        return document(record, model_answer=model_answer)

    def _question(self, record: TextExplanation, text: str) -> Question:
        """The text as tokens. A text without words is as many pad tokens, between the tokens that frame every text."""
        tokenizer, at = self.model.tokenizer, record.label_index
        read = tokenizer(text, truncation=True, max_length=self.model.max_length, return_offsets_mapping=True)
        ids, spans = list(read["input_ids"]), [(int(a), int(b)) for a, b in read["offset_mapping"]]
        pad = int(tokenizer.pad_token_id)

        def score(tokens: torch.Tensor) -> torch.Tensor:
            mask = torch.ones_like(tokens)
            return torch.softmax(self.model.model(input_ids=tokens, attention_mask=mask).logits.float(), dim=-1)[:, at]

        return Question(
            outputs=lambda texts: self.outputs(list(enumerate(texts)))[:, at], ids=ids, spans=spans,
            baseline=[pad if b > a else i for i, (a, b) in zip(ids, spans, strict=True)], score=score,
        )  # fmt: skip

    def outputs(self, asked: Sequence[tuple[int, str]]) -> Floats:
        return self.model.predict_proba([text for _, text in asked], batch_size=AT_ONCE).astype(np.float64)

    def _own(self, texts: Sequence[str]) -> list[str]:
        """What the version itself answers."""
        return self.model.predict(texts)[0]

    @property
    def reading(self) -> Reading:
        tokenizer, most = self.model.tokenizer, self.model.max_length
        return Reading(
            tokens=lambda text: tokens(tokenizer, text),
            window=lambda text: window(tokenizer, text, most),
            limit=f"the model reads {most} tokens",
        )


def tokens(tokenizer: Any, text: str) -> list[tuple[int, int]]:
    """Where a tokenizer parts a text, in characters; empty for one that cannot tell."""
    if not tokenizer.is_fast:
        return []
    found = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, truncation=False, verbose=False)
    return [(int(a), int(b)) for a, b in found["offset_mapping"]]


def window(tokenizer: Any, text: str, most: int) -> tuple[int, int]:
    """The characters of a text that a classifier reads of it, half-open, by the tokens that truncation leaves."""
    if not tokenizer.is_fast:
        return 0, len(text)
    found = tokenizer(text, return_offsets_mapping=True, truncation=True, max_length=most, verbose=False)
    read = [(a, b) for a, b in found["offset_mapping"] if b > a]
    whole = tokens(tokenizer, text)
    if not read or len(read) >= sum(b > a for a, b in whole):
        return 0, len(text)
    return int(min(a for a, _ in read)), int(max(b for _, b in read))
