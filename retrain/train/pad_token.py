"""`python -m retrain.train.pad_token FOLDER`: pad and end token of a base's tokenizer as its class has them, as JSON.

Old tokenizers do not write down what is their class's default.
"""

import json
import sys
from typing import Any

if __name__ == "__main__":
    from transformers import AutoTokenizer

    # The library has no annotations here.
    made: Any = AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True, trust_remote_code=False)
    sys.stdout.write(json.dumps({"pad_token": made.pad_token, "eos_token": made.eos_token}))
