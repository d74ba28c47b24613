"""A language model that answers with a label or a short text: which words of the question made this answer likely.

The output is the natural logarithm of the probability of the whole answer, its end token included. It is in nats, at
most 0, and adds over words, which a probability near 0 or 1 does not.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast

import numpy as np
import torch

from core.arrays import Floats
from core.errors import AppError, InvalidError
from monitor.explain.text import Reading, explain_texts
from retrain.evals.explained.base import Asked, Document, ExplainedModel, document
from retrain.evals.explained.opinions import Question, second_opinions
from retrain.evals.explained.words import tokens
from retrain.train.chat import PlainFormat
from retrain.train.conversation import Dropped, read_conversation
from retrain.train.model import Generator, load_generator

UNIT: Final = "nats (log-probability of the answer)"
TURN: Final = "only the words of the last turn are explained; the turns before it stay as they are"


class ExplainedGenerator:
    """`model` writes an answer to each text."""

    def __init__(self, model: Generator) -> None:
        self.model = model

    @classmethod
    def load(cls, model: ExplainedModel) -> "ExplainedGenerator":
        files = model.files
        return cls(
            load_generator(
                files.base_dir, files.adapter_dir, device=model.device, threads=model.threads, quantise=files.quantise,
                max_length=model.max_length, chat=model.chat,
            )
        )  # fmt: skip

    def explain(self, asked: Asked) -> list[Document | AppError]:
        own = iter(self.model.generate([d.input for d in asked.decisions if d.answer is None]))
        answers = [next(own) if d.answer is None else d.answer for d in asked.decisions]
        return [
            self._one(one.input, answer, asked, own=one.answer is None)
            for one, answer in zip(asked.decisions, answers, strict=True)
        ]

    def _one(self, text: str, answer: str, asked: Asked, *, own: bool) -> Document | AppError:
        try:
            if not answer.strip():
                raise InvalidError("the answer is empty, so there is no probability to explain", field="prediction")
            begun, said, ended = last_turn(text)
            record = explain_texts(
                [said], lambda pairs: self.scores([begun + ended(t) for _, t in pairs], answer), [0], labels=[answer],
                unit=UNIT, reading=self.reading(answer), max_evals=asked.max_evals, seed=asked.seed,
            )[0]  # fmt: skip
        except AppError as error:
            return error
        if begun:
            record = replace(record, notes=(*record.notes, TURN))
        if asked.opinions:
            question = self._question(begun + ended(said), said, answer, lambda t: begun + ended(t))
            found = second_opinions(asked.opinions, record, self.model.model, question, asked.seed)
            record = replace(record, opinions=found)
        return document(record, model_answer=answer if own else None)

    def scores(self, prompts: Sequence[str], answer: str) -> Floats:
        """Log-probability of one answer after each prompt, shape (prompts, 1)."""
        found = self.model.answer_logprobs(list(prompts), answer)
        if any(len(line) == 0 for line in found):
            raise InvalidError(
                f"the answer cannot be scored: it and its question leave no room in {self.model.max_length} tokens, or "
                "the model's format cannot hold them; raise retrain.recipe.max_length or log shorter answers",
                field="prediction",
            )
        return np.array([[float(line.sum())] for line in found])

    def _question(self, asked: str, said: str, answer: str, ended: Callable[[str], str]) -> Question:
        """The question with its answer as tokens. Of a chat only LIME can be asked: its tokens are not the text's."""
        fitted = self.model.whole(self.model.format.rows([asked], [answer])[0])
        assert fitted is not None  # it has been scored
        spans = tokens(self.model.tokenizer, said)
        head = fitted.answer
        plain = isinstance(self.model.format, PlainFormat) and asked == said
        of_head = ([(0, 0)] * head + spans)[-head:]
        pad, told = int(cast(int, self.model.tokenizer.pad_token_id)), torch.tensor(fitted.ids[head:])

        def score(ids: torch.Tensor) -> torch.Tensor:
            logits = self.model.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -ids.shape[1] :]
            scores = torch.log_softmax(logits[:, head - 1 : -1].float(), dim=-1)
            return scores.gather(2, told.to(ids.device).expand(len(ids), -1)[:, :, None])[:, :, 0].sum(dim=1)

        spans = of_head + [(0, 0)] * len(told) if plain else []
        return Question(
            outputs=lambda texts: self.scores([ended(t) for t in texts], answer)[:, 0], ids=fitted.ids, spans=spans,
            baseline=[pad if b > a else i for i, (a, b) in zip(fitted.ids, spans, strict=False)], score=score,
            answer=len(told),
        )  # fmt: skip

    def reading(self, answer: str) -> Reading:
        return Reading(
            tokens=lambda text: tokens(self.model.tokenizer, text),
            window=lambda text: self._window(text, answer),
            limit=f"the model reads {self.model.max_length} tokens with the answer, and of a long question its end",
        )

    def _window(self, text: str, answer: str) -> tuple[int, int]:
        """The characters of a question that are read, by the tokens that do not fit."""
        parts = self.model.format.rows([text], [answer])[0]
        cut = 0 if isinstance(parts, Dropped) else self.model.cut(parts)
        spans = [span for span in tokens(self.model.tokenizer, text) if span[1] > span[0]]
        return (spans[cut][0], len(text)) if 0 < cut < len(spans) else (0, len(text))


def last_turn(text: str) -> tuple[str, str, Callable[[str], str]]:
    """Of a conversation what stands before its last turn, the words of that turn, and how they are written; else ''."""
    messages = read_conversation(text)
    if isinstance(messages, Dropped) or (len(messages) == 1 and messages[0]["content"] == text):
        return "", text, str
    *before, last = messages
    begun = json.dumps(before, ensure_ascii=False)[:-1] + (", " if before else "")
    return begun, str(last["content"]), lambda words: json.dumps(last | {"content": words}, ensure_ascii=False) + "]"
