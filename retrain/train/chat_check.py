"""`python -m retrain.train.chat_check FOLDER CHAT`: whether the chat template of a base does what a recipe asks.

It prints JSON. In a process of its own, with a time limit: a template is a program that nobody here wrote, and the
library loads torch.
"""

import json
import sys
from pathlib import Path
from typing import Any

from retrain.train.chat_keys import Chat
from retrain.train.errors import DataError


def problem(folder: Path, chat: Chat) -> dict[str, Any] | None:
    """Key of the recipe and reason of what the template cannot do; None where it can."""
    from transformers import AutoTokenizer

    from retrain.train.chat import ChatFormat

    # The library has no annotations here.
    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if not tokenizer.chat_template:
        return None
    try:
        ChatFormat(tokenizer, chat).check()
    except DataError as error:
        return {"message": error.message, **error.facts}
    return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"problem": problem(Path(sys.argv[1]), Chat.model_validate_json(sys.argv[2]))}))
