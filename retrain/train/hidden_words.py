"""Words that a training step of a classifier does not see, so that no class hangs on a single one.

Dropout of words (Iyyer et al. 2015, section 3.1) costs no time. Small classifiers learn few rows by heart without it.
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class HiddenWords:
    """Replaces a share of the tokens of a batch by one that stands for an unknown word.

    `kept` are the tokens that frame and pad a text. They stay, since padding and place are read from them. A text of
    which nothing would be left stays whole.
    """

    share: float
    token: int
    kept: tuple[int, ...]

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Shape (texts, tokens), as given. Random as dropout is: what a checkpoint restores repeats it."""
        own = torch.isin(ids, torch.tensor(self.kept, device=ids.device), invert=True)
        hidden = own & (torch.rand(ids.shape, device=ids.device) < self.share)
        hidden &= (own & ~hidden).any(dim=1, keepdim=True)
        return ids.masked_fill(hidden, self.token)


def hidden_words(share: float, tokenizer: PreTrainedTokenizerBase) -> HiddenWords | None:
    """None where nothing is hidden: a share of 0, or a tokenizer whose only unknown word is its padding, or an end."""
    frame = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    token = next(
        (t for t in (tokenizer.mask_token_id, tokenizer.unk_token_id) if t is not None and t not in frame), None
    )
    return None if not share or token is None else HiddenWords(share, token, tuple(tokenizer.all_special_ids))
