"""A text in the pieces whose part in an answer is asked: words where white space parts them, phrases where none does.

Joined, the pieces are the text, character by character. Chinese, Japanese and Thai are parted by budoux, which marks
phrases. Other scripts without spaces (Khmer, Lao, Burmese, Tibetan ...) are parted as the model's own tokenizer parts
them; a piece never ends inside what a reader sees as one character. Emoji stand alone. A string of more than LONGEST
characters without a space, such as an address of a page, is parted after its punctuation.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

import regex

Spans = list[tuple[int, int]]  # half-open, in characters
Pieces = Callable[[str], Spans]  # where a tokenizer parts a text

LONGEST: Final = 40
_WORD: Final = regex.compile(r"\s*\S+\s*")
_GRAPHEME: Final = regex.compile(r"\X")
_EMOJI: Final = regex.compile(r"[\p{Emoji_Presentation}\p{Extended_Pictographic}]|\p{Regional_Indicator}{2}|[0-9#*]️?⃣")
_LETTER: Final = regex.compile(r"[\p{L}\p{M}\p{N}]")
# Nobody reads a word that begins with these: marks, the lengthening sign and the small letters of kana.
_BEGINS_NOTHING: Final = regex.compile(r"[\p{M}ーｰぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶｧｨｩｪｫｬｭｮｯ々ゝゞヽヾﾞﾟ]")
_KATAKANA: Final = regex.compile(r"[\p{Katakana}ーｰﾞﾟ]")
_KANA: Final = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
# Characters without a script of their own (digits, punctuation, marks) go with what stands before them.
_SCRIPTS: Final = {
    "han": regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}]"),
    "thai": regex.compile(r"\p{Thai}"),
    "unspaced": regex.compile(
        r"[\p{Khmer}\p{Lao}\p{Myanmar}\p{Tibetan}\p{Javanese}\p{Balinese}\p{Tai_Tham}\p{New_Tai_Lue}\p{Tai_Le}"
        r"\p{Tai_Viet}\p{Yi}\p{Sundanese}]"
    ),
    "spaced": regex.compile(r"\p{L}"),
}
_BREAK: Final = regex.compile(r"[^/?&=._\-:;,|+%@#~]*[/?&=._\-:;,|+%@#~]+|[^/?&=._\-:;,|+%@#~]+")


def pieces(text: str, tokens: Pieces | None = None) -> list[str]:
    """The pieces of a text; joined they are the text.

    Args:
        text: any text; one of white space alone is one piece, an empty one none.
        tokens: where the model's tokenizer parts a text, for scripts that nothing else here parts. Without it such a
            text is parted into its characters.
    """
    if not text.strip():
        return [text] if text else []
    japanese = _KANA.search(text) is not None
    found: list[str] = []
    for word in _WORD.finditer(text):  # white space at the beginning goes with the first word, else with the one before
        found += _parted(word[0], japanese, tokens)
    return found


def _parted(word: str, japanese: bool, tokens: Pieces | None) -> list[str]:
    """One word with the white space around it, in pieces."""
    if word.isascii() and len(word.strip()) <= LONGEST:
        return [word]
    core = word.strip()
    start = word.index(core[0]) if core else 0
    head, tail = word[:start], word[start + len(core) :]
    found = [piece for kind, run in _runs(core) for piece in _of_script(kind, run, japanese, tokens)]
    found = _joined(found)
    found[0] = head + found[0]
    found[-1] += tail
    return found


def _runs(core: str) -> Iterator[tuple[str, str]]:
    """Neighbouring characters of one kind; each emoji is a run of its own."""
    kind, begun, at = "", 0, 0
    for match in _GRAPHEME.finditer(core):
        own = _kind(match[0]) or kind
        if at and (own != kind or own == "emoji" == kind) and kind:
            yield kind, core[begun:at]
            begun = at
        kind, at = own, match.end()
    yield kind or "spaced", core[begun:]


def _kind(grapheme: str) -> str | None:
    if not grapheme.isascii() and _EMOJI.match(grapheme):
        return "emoji"
    return next((name for name, script in _SCRIPTS.items() if script.match(grapheme)), None)


def _of_script(kind: str, run: str, japanese: bool, tokens: Pieces | None) -> list[str]:
    if kind == "han":
        return _parser("ja" if japanese else "zh-hant" if _is_traditional(run) else "zh-hans").parse(run) or [run]
    if kind == "thai":
        return _at_characters(run, _parser("th").parse(run) or [run])
    if kind == "unspaced":
        return _of_tokens(run, tokens)
    if kind == "spaced" and len(run) > LONGEST:
        return [piece for part in _BREAK.findall(run) for piece in _cut(part)]
    return [run]


@functools.cache
def _parser(language: str) -> Any:
    import budoux

    loaders = {
        "ja": budoux.load_default_japanese_parser, "zh-hans": budoux.load_default_simplified_chinese_parser,
        "zh-hant": budoux.load_default_traditional_chinese_parser, "th": budoux.load_default_thai_parser,
    }  # fmt: skip
    return loaders[language]()


def _is_traditional(run: str) -> bool:
    """Whether more of its characters are in Big5 alone than in GB 2312 alone."""
    return sum(_in(c, "big5") - _in(c, "gb2312") for c in run) > 0


def _in(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _of_tokens(run: str, tokens: Pieces | None) -> list[str]:
    """As the tokenizer parts it, whole characters each; into characters where it sees the run as one unknown."""
    ends = {end for _, end in tokens(run)} if tokens is not None else set()
    found, begun = list[str](), 0
    for match in _GRAPHEME.finditer(run):
        if match.end() in ends:
            found.append(run[begun : match.end()])
            begun = match.end()
    if begun < len(run):
        found.append(run[begun:])
    return found if len(found) > 1 else _GRAPHEME.findall(run)


def _at_characters(run: str, parts: list[str]) -> list[str]:
    """The parts, none of which begins inside a character."""
    starts = {match.start() for match in _GRAPHEME.finditer(run)}
    found, at = list[str](), 0
    for part in parts:
        if at in starts or not found:
            found.append(part)
        else:
            found[-1] += part
        at += len(part)
    return found


def _cut(part: str) -> list[str]:
    """A long string in parts of at most LONGEST characters as a reader sees them."""
    seen = _GRAPHEME.findall(part)
    return ["".join(seen[i : i + LONGEST]) for i in range(0, len(seen), LONGEST)]


def _joined(parts: list[str]) -> list[str]:
    """Parts that are no words alone go with the part before them; punctuation that comes first with the next."""
    found: list[str] = []
    waiting = ""
    for part in parts:
        if found and (_BEGINS_NOTHING.match(part) or (_KATAKANA.match(part) and _KATAKANA.match(found[-1][-1]))):
            found[-1] += part  # a loan word is one
        elif _LETTER.search(part) or _kind(part) == "emoji":
            found.append(waiting + part)
            waiting = ""
        elif found:
            found[-1] += part
        else:
            waiting += part
    if waiting:
        found.append(waiting)
    return found
