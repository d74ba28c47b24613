"""Rows of a language model as the tokens it reads: as plain texts, or in the format of the base's own chat template.

The template of a base is input that nobody here wrote. It is rendered by the library, in its sandbox, and by nothing
else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from jinja2 import TemplateError

from core.canonical import digest
from retrain.train.chat_keys import Chat, unusable
from retrain.train.conversation import Dropped, Message, read_conversation
from retrain.train.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLAIN: Final = Chat(template="none")
_ASKED, _ANSWERED, _TOLD = "Which1 of2 them3?", "The4 first5 one6.", "Be7 brief8."
Turn = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Parts:
    """The tokens of one row: `head` is what stands before the answer, `tail` the answer with the token that ends it.

    `turns` are stretches of `head` that are learned too: earlier answers, each with its end. The first `kept` tokens
    stay where `head` is cut from the left.
    """

    head: list[int]
    tail: list[int]
    kept: int
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Fitted:
    """What of a row lies within the longest text: its tokens, those that are learned, and where the answer begins."""

    ids: list[int]
    labels: list[int]
    answer: int


class TextFormat(Protocol):
    """How a model is asked. `stops` are the tokens that end an answer."""

    stops: tuple[int, ...]

    def rows(self, asked: Sequence[str], answers: Sequence[str]) -> list[Parts | Dropped]: ...

    def questions(self, asked: Sequence[str]) -> list[Parts | Dropped]:
        """The same without answers, for a model to write them."""
        ...

    def learned(self, parts: Parts, max_length: int) -> Fitted | Dropped:
        """What is trained on."""
        ...

    def scored(self, parts: Parts, max_length: int) -> Fitted | Dropped:
        """What held-out rows are scored on."""
        ...

    def answer(self, text: str) -> str:
        """A written answer without what the format puts before every one."""
        ...

    def record(self) -> dict[str, Any]: ...


def text_format(tokenizer: "PreTrainedTokenizerBase", chat: Chat) -> TextFormat:
    """
    Raises:
        DataError: the base has no chat template and one is asked for, or it cannot be used.
    """
    if chat.template == "none" or (chat.template == "auto" and not tokenizer.chat_template):
        return PlainFormat(tokenizer)
    if not tokenizer.chat_template:
        raise DataError("recipe.chat.template: is base, and the base has no chat template; write template: none")
    return ChatFormat(tokenizer, chat)


class PlainFormat:
    """The texts as they are, between the tokens that begin and end a text."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer
        self.start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
        self.end = [] if tokenizer.eos_token_id is None else [cast(int, tokenizer.eos_token_id)]
        self.stops = tuple(self.end)

    def rows(self, asked: Sequence[str], answers: Sequence[str]) -> list[Parts | Dropped]:
        texts = (tokens_of(self.tokenizer, list(side)) for side in (asked, answers))
        return [
            Parts([*self.start, *head], [*tail, *self.end], len(self.start)) for head, tail in zip(*texts, strict=True)
        ]

    def questions(self, asked: Sequence[str]) -> list[Parts | Dropped]:
        return [Parts([*self.start, *head], [], len(self.start)) for head in tokens_of(self.tokenizer, list(asked))]

    def learned(self, parts: Parts, max_length: int) -> Fitted | Dropped:
        """Cut from the right: a prompt that fills `max_length` leaves nothing to learn."""
        return _fitted(parts.head, parts.tail, max_length)

    def scored(self, parts: Parts, max_length: int) -> Fitted | Dropped:
        """Of a long prompt the end is kept."""
        room = max_length - 1 - parts.kept
        head = [*parts.head[: parts.kept], *(parts.head[parts.kept :][-room:] if room > 0 else [])]
        return _fitted(head, parts.tail, max_length)

    def answer(self, text: str) -> str:
        return text.strip()

    def record(self) -> dict[str, Any]:
        return {"template": None}


def _fitted(head: Sequence[int], tail: Sequence[int], max_length: int) -> Fitted:
    ids = [*head, *tail][:max_length]
    return Fitted(ids, [-100] * min(len(head), len(ids)) + ids[len(head) :], len(head))


class ChatFormat:
    """The chat template of the base's tokenizer, and the conversations that it takes."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", chat: Chat) -> None:
        """
        Raises:
            DataError: the template cannot be rendered, shows no question or answer, or marks no end of an answer.
        """
        self.tokenizer, self.chat = tokenizer, chat
        named = {*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", {})}
        self.controls = named - {tokenizer.unk_token_id}
        self.end = cast("int | None", tokenizer.eos_token_id)  # what ends an answer
        self.opening = 0  # tokens that open one
        self.lead = ""  # what the template puts before every answer that was given
        self.behind, self.closing, self.adds = "", "", False  # what stands behind one; of it what is learned
        self._probe()
        ends = (self.end, cast("int | None", tokenizer.eos_token_id))
        self.stops = tuple(dict.fromkeys(end for end in ends if end is not None))

    def _probe(self) -> None:
        """Learn from a made-up exchange what the template puts around an answer."""
        asked: list[Message] = [{"role": "user", "content": _ASKED}]
        prefix = self._rendered(asked, ask=True)
        if isinstance(prefix, Dropped) or _ASKED not in prefix:
            why = prefix.reason if isinstance(prefix, Dropped) else "it does not show what the user says"
            raise _unusable(why)
        bare = self._rendered(asked, ask=False)
        head = self._tokens(prefix)
        if not isinstance(bare, Dropped) and prefix.startswith(bare):
            self.opening = max(0, len(head) - len(self._tokens(bare)))
        full = self._rendered([*asked, {"role": "assistant", "content": _ANSWERED}], ask=False)
        if isinstance(full, Dropped) or _ANSWERED not in full:
            raise _unusable(full.reason if isinstance(full, Dropped) else "it does not show what the assistant says")
        at = full.rindex(_ANSWERED)
        self.behind = full[at + len(_ANSWERED) :]
        if full.startswith(prefix):
            self.lead = full[len(prefix) : at].strip()
        found = next((i for i in self._tokens(self.behind) if i in self.controls), None)
        if found is not None:
            self.end, mark = found, str(self.tokenizer.convert_ids_to_tokens(found))
            self.closing, self.adds = self.behind[: self.behind.index(mark) + len(mark)], False
        elif self.end is not None:
            self.closing, self.adds = self.behind.rstrip(), True
        else:
            raise _unusable("neither it nor the tokenizer has a token that ends an answer")

    def rows(self, asked: Sequence[str], answers: Sequence[str]) -> list[Parts | Dropped]:
        return [self._row(*row) for row in zip(asked, answers, strict=True)]

    def questions(self, asked: Sequence[str]) -> list[Parts | Dropped]:
        return [self._question(one) for one in asked]

    def _row(self, asked: str, answer: str) -> Parts | Dropped:
        messages = self._messages(asked)
        if isinstance(messages, Dropped):
            return messages
        prefix = self._rendered(messages, ask=True)
        if isinstance(prefix, Dropped):
            return prefix
        full = self._rendered([*messages, {"role": "assistant", "content": answer}], ask=False)
        if isinstance(full, Dropped):
            return full
        head = self._tokens(prefix)
        tail = self._answered(full, answer, prefix, head)
        if tail is None:
            return Dropped("the chat template does not show the answer as it is")
        turns = self._turns(messages, head) if self.chat.learn == "all" else ()
        return Parts(head, tail, self._kept(head), turns)

    def _question(self, asked: str) -> Parts | Dropped:
        messages = self._messages(asked)
        prefix = messages if isinstance(messages, Dropped) else self._rendered(messages, ask=True)
        if isinstance(prefix, Dropped):
            return prefix
        head = self._tokens(prefix)
        return Parts(head, [], self._kept(head))

    def learned(self, parts: Parts, max_length: int) -> Fitted | Dropped:
        """Cut from the left; the answer and what opens it are never cut: where they do not fit, the row is left out."""
        room = max_length - len(parts.tail)
        if room < min(len(parts.head), parts.kept + self.opening + 1):
            return Dropped("")
        gone = max(0, len(parts.head) - room)
        head = [*parts.head[: parts.kept], *parts.head[parts.kept + gone :]]
        labels = [-100] * len(head)
        for start, end in parts.turns:
            at = range(max(start - gone, parts.kept), max(end - gone, parts.kept))
            for i in at:
                labels[i] = head[i]
        return Fitted([*head, *parts.tail], [*labels, *parts.tail], len(head))

    def scored(self, parts: Parts, max_length: int) -> Fitted | Dropped:
        """The answer alone, whatever is trained on beside it."""
        found = self.learned(parts, max_length)
        if isinstance(found, Dropped):
            return found
        return Fitted(found.ids, [-100] * found.answer + found.ids[found.answer :], found.answer)

    def answer(self, text: str) -> str:
        return text.strip().removeprefix(self.lead).strip()

    def record(self) -> dict[str, Any]:
        """For the run's record: which template, and what ends an answer."""
        return {
            "template": digest(self.tokenizer.chat_template), "system": self.chat.system, "learn": self.chat.learn,
            "ends_with": None if self.end is None else self.tokenizer.convert_ids_to_tokens(self.end),
        }  # fmt: skip

    def check(self) -> None:
        """Whether the template does what `chat` asks of it.

        Raises:
            DataError: it takes no system prompt or does not show it, or it changes earlier answers that are learned.
        """
        if self.chat.system is not None and isinstance(found := self._question(_ASKED), Dropped):
            raise DataError(
                f"retrain.recipe.chat.system: {found.reason}; leave system out, and say it in the first message",
                field="retrain.recipe.chat.system", value=self.chat.system,
            )  # fmt: skip
        if self.chat.learn != "all":
            return
        turns = (_ASKED, "user"), (_ANSWERED, "assistant"), (_TOLD, "user")
        messages: list[Message] = [{"role": role, "content": text} for text, role in turns]
        text = self._rendered(messages, ask=True)
        if isinstance(text, Dropped) or len(self._turns(messages, self._tokens(text))) != 1:
            raise DataError(
                "retrain.recipe.chat.learn: is all, and the chat template of the base shows earlier answers in "
                "another way than the last one, or without an end, so that they cannot be learned where they stand; "
                "write learn: last",
                field="retrain.recipe.chat.learn", value="all",
            )  # fmt: skip

    def _messages(self, asked: str) -> list[Message] | Dropped:
        messages = read_conversation(asked)
        if not isinstance(messages, Dropped) and self.chat.system is not None and messages[0]["role"] != "system":
            return [{"role": "system", "content": self.chat.system}, *messages]
        return messages

    def _rendered(self, messages: Sequence[Message], *, ask: bool) -> str | Dropped:
        given = cast(Any, self.tokenizer)
        try:
            text = str(given.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask))
        except TemplateError as error:
            words = " ".join(str(error).split())[:120]
            return Dropped(f"the chat template refuses the conversation: {words}")
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            return Dropped(f"the chat template fails on the conversation ({type(error).__name__})")
        if any(m["content"].strip() not in text for m in messages if m["role"] in ("system", "user")):
            return Dropped("the chat template does not show every message")
        return text

    def _turns(self, messages: Sequence[Message], head: list[int]) -> tuple[Turn, ...]:
        """Earlier answers in `head`, each with its end, without those that the template changes afterwards."""
        found = []
        for i, message in enumerate(messages):
            if message["role"] != "assistant" or not message["content"]:
                continue
            before, after = self._rendered(messages[:i], ask=True), self._rendered(messages[: i + 1], ask=False)
            if isinstance(before, Dropped) or isinstance(after, Dropped):
                continue
            start = self._tokens(before)
            turn = self._answered(after, message["content"], before, start)
            if turn is not None and not self.adds and head[: len(start) + len(turn)] == [*start, *turn]:
                found.append((len(start), len(start) + len(turn)))
        return tuple(found)

    def _answered(self, full: str, answer: str, prefix: str, head: list[int]) -> list[int] | None:
        """The tokens of the last answer and its end, without what the template puts behind that.

        Args:
            full: the conversation as the template shows it, with the answer.
            answer: as it was given.
            prefix: the conversation up to where the answer is due.
            head: the tokens of `prefix`.

        Returns:
            None where the answer does not stand at the end. Where the template opens an answer in another way than it
            shows one that was given, the answer follows what opens it, as when the model writes.
        """
        said, shown = answer.strip(), full.removesuffix(self.behind)
        if not full.endswith(self.behind) or not shown.rstrip().endswith(said):
            return None
        end = [cast(int, self.end)] if self.adds else []
        text = shown + self.closing
        if not full.startswith(prefix):
            return [*self._tokens(text[len(shown.rstrip()) - len(said) :]), *end]
        whole = self._tokens(text)
        same = whole[: len(head)] == head
        return [*(whole[len(head) :] if same else self._tokens(text[len(prefix) :])), *end]

    def _kept(self, head: Sequence[int]) -> int:
        return int(bool(head) and head[0] == self.tokenizer.bos_token_id)

    def _tokens(self, text: str) -> list[int]:
        return tokens_of(self.tokenizer, [text])[0]


def tokens_of(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[list[int]]:
    """The tokens of texts, with those that are written in them and none that the tokenizer adds."""
    if not texts:
        return []
    given: Mapping[str, Any] = tokenizer(texts, add_special_tokens=False, verbose=False)
    return cast(list[list[int]], given["input_ids"])


def _unusable(why: str) -> DataError:
    return DataError(unusable(why), field="retrain.recipe.chat.template")
