"""What the files of a base's tokenizer say: its pad and end tokens, the largest id that it gives, a chat template."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from core.process import answer_of, last_words
from retrain.base_weights import read_json, wrong

PLAIN: Final = ("PreTrainedTokenizerFast", "TokenizersBackend")  # classes without tokens of their own
SPECIAL: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MORE: Final = ("additional_special_tokens", "extra_special_tokens")
ASK_S: Final = 60


def check_tokenizer(folder: Path, *, ends: bool) -> int:
    """The largest id that a text may get.

    Args:
        folder: of the base.
        ends: whether a token that ends an answer is needed.

    Raises:
        BaseModelError: there is no pad token, no end token where one is needed, or a file cannot be read.
    """
    tokens = read_json(folder / "tokenizer.json")
    settings, special, added = (
        read_json(folder / name) if (folder / name).is_file() else {}
        for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    )
    if settings.get("auto_map"):
        raise wrong(folder, "has a tokenizer with Python code of its own (auto_map), which is never run; choose "
                    "another base")  # fmt: skip
    try:
        ids = _ids(tokens, settings, added)
        named = {name: _name(settings.get(name, special.get(name))) for name in SPECIAL}
        more = [_name(one) for name in MORE for one in _listed(settings.get(name, special.get(name)))]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise wrong(folder, f"has a tokenizer.json or tokenizer_config.json that is none ({error!r}); save the "
                    "tokenizer again") from error  # fmt: skip
    lacks = named["pad_token"] is None or (ends and named["eos_token"] is None)
    if lacks and settings.get("tokenizer_class") not in PLAIN:
        named = _by_class(folder) | {name: text for name, text in named.items() if text is not None}
    pad, end = named["pad_token"], named["eos_token"]
    if pad is None:
        line = f'"pad_token": {json.dumps(end or "<pad>", ensure_ascii=False)}'
        raise wrong(folder, f"has a tokenizer without a pad token; add {line} to tokenizer_config.json"
                    + (" (the end token does, padding is never trained on)" if end else ""))  # fmt: skip
    if ids and pad not in ids:
        raise wrong(folder, f"has the pad token {pad!r}, which is not in the vocabulary of its tokenizer; name one "
                    "that is")  # fmt: skip
    if ends and end is None:
        raise wrong(folder, "has a tokenizer without an end token, so that no answer would end; add eos_token to "
                    "tokenizer_config.json, with the token that ended texts when the base was trained")  # fmt: skip
    # The library gives a special token that no file gives an id the next free one.
    unknown = {text for text in (*named.values(), *more) if text and text not in ids}
    return max(ids.values()) + len(unknown) if ids else 0


def _ids(tokens: Mapping[str, Any], settings: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, int]:
    vocabulary = (tokens.get("model") or {}).get("vocab") or {}
    if isinstance(vocabulary, list):  # of a unigram model: pairs of piece and score, in the order of their ids
        ids = {str(pair[0]): at for at, pair in enumerate(vocabulary)}
    else:
        ids = {str(token): int(at) for token, at in vocabulary.items()}
    ids |= {str(one["content"]): int(one["id"]) for one in tokens.get("added_tokens") or ()}
    ids |= {str(_name(one)): int(at) for at, one in (settings.get("added_tokens_decoder") or {}).items()}
    return {str(text): int(at) for text, at in added.items()} | ids


def _name(given: Any) -> str | None:
    found = given.get("content") if isinstance(given, Mapping) else given
    return None if found is None else str(found)


def _listed(given: Any) -> list[Any]:
    return list(given.values()) if isinstance(given, Mapping) else list(given or ())


def _by_class(folder: Path) -> dict[str, str | None]:
    """The special tokens that a tokenizer has by its class, asked in a process of its own: the library loads torch."""
    nothing: dict[str, str | None] = dict.fromkeys(SPECIAL)
    try:
        found = answer_of("retrain.train.pad_token", [str(folder)], limit_s=ASK_S)
        return nothing | {name: found[name] for name in ("pad_token", "eos_token")}
    except subprocess.CalledProcessError as error:
        words = f"has a tokenizer that cannot be loaded ({last_words(error)}); save it again"
        raise wrong(folder, words) from error
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return nothing


def has_template(folder: Path) -> bool:
    """Whether the tokenizer of a base brings a chat template, in a file of its own or in its settings."""
    file = folder / "chat_template.jinja"
    if file.is_file() and file.stat().st_size:
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(read_json(settings).get("chat_template"))
