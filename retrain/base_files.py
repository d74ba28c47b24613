"""What the files of a base model say about it, checked when a spec is applied: no weight is read, and no torch loaded.

Read are config.json, the tokenizer's JSON, and the headers of the safetensors files. Which class of the library
classifies or writes comes from the library's own table, read as source.
"""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from monitor.levels import level
from retrain.errors import BaseModelError, RecipeError
from retrain.train.config import Recipe
from retrain.train.kinds import KINDS
from retrain.train.tabular.files import read_pipeline
from retrain.train.tabular.recipe import TableColumn, TableRecipe
from retrain.train.weights import INDEX, weight_files

MAX_HEADER: Final = 100 * 2**20
MAX_JSON: Final = 200 * 2**20
EMBEDDING: Final = re.compile(
    r"(embed_tokens|word_embeddings|wte|embed_in|tok_embeddings|word_embedding|shared)\.weight$"
)
POSITIONS: Final = re.compile(r"(position_embeddings|wpe|embed_positions)\.weight$")
LAYER: Final = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
PLAIN: Final = ("PreTrainedTokenizerFast", "TokenizersBackend")  # classes without tokens of their own
ATTENTION: Final = "_supports_attention_backend = True"  # how a class says that its attention may be another one
ASK_S: Final = 60
ENCODERS_OF_SUMMARIES: Final = ("xlnet", "xlm", "flaubert")  # they read one token, wherever the padding stands
# Words of model types and layers in which a text leaves a trace in the next one of its row.
RECURRENT: Final = (
    "mamba", "rwkv", "recurrent", "linear_attention", "conv", "xlstm", "chunked_attention", "hybrid", "jamba", "bamba",
    "zamba", "falcon_h1", "nemotron_h", "minimax",
)  # fmt: skip
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """What was read of a base."""

    config: Mapping[str, Any]
    shapes: Shapes

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type"))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, self.config.get("architectures") or ()))

    @property
    def decodes(self) -> bool:
        """Whether it reads from left to right, so that the last token of a text stands for the text."""
        causal, masked = library_class(self.model_type, "CAUSAL_LM"), library_class(self.model_type, "MASKED_LM")
        return bool(self.config.get("is_decoder")) or (causal is not None and masked is None)

    @property
    def labels(self) -> list[str] | None:
        """The labels that its saved head answers, in order; None where it has no head that is trained on them.

        A head is one of a sequence classifier, with a row for each label that config.json names. Placeholders
        (LABEL_0) name nothing, and the head of another task (a question's answer, a token's class) answers no text.
        """
        names = self.config.get("id2label") or {}
        ordered = [level(str(names[key])) or str(names[key]) for key in sorted(names, key=int)]
        classifies = library_class(self.model_type, "SEQUENCE_CLASSIFICATION")
        if not ordered or all(name == f"LABEL_{i}" for i, name in enumerate(ordered)):
            return None
        if classifies not in self.classes:
            return None
        heads = [
            name
            for name, shape in self.shapes.items()
            if len(shape) == 2 and shape[0] == len(ordered) and not LAYER.search(name) and not EMBEDDING.search(name)
        ]
        return ordered if heads else None


def read_base(folder: Path) -> BaseFiles:
    """
    Raises:
        BaseModelError: config.json is no JSON object, a file that the index names is missing, a header cannot be
            read, or a file is shorter than its header says.
    """
    config = _json(folder / "config.json")
    if (folder / INDEX).is_file():
        named = _json(folder / INDEX).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise _wrong(folder, f"{INDEX} names no file; save the model again")
    files = weight_files(folder)
    if missing := [file.name for file in files if not file.is_file()]:
        raise _wrong(folder, f"{INDEX} names {', '.join(missing[:3])}, which is not there; copy every file")
    shapes: Shapes = {}
    for file in files:
        shapes |= _header(folder, file)
    return BaseFiles(config, shapes)


def check_recipe(recipe: Recipe, folder: Path) -> BaseFiles:
    """Refuse a base that this recipe could not train, or that would answer wrongly afterwards.

    Raises:
        BaseModelError: the files are damaged, need code of their own, are quantised, or do not fit together.
        RecipeError: the recipe asks of the base what it cannot do; the error names the key.
    """
    found = read_base(folder)
    _check_kind(found, folder)
    _check_class(recipe, found, folder)
    tokens = _check_tokenizer(folder)
    _check_sizes(found, folder, tokens)
    _check_length(recipe, found)
    _check_method(recipe, found)
    return found


def check_table(recipe: TableRecipe, folder: Path, columns: Sequence[TableColumn]) -> None:
    """Refuse a first champion that reads other columns than the spec declares, or learned another kind of outcome.

    Raises:
        RecipeError: names the columns that differ.
    """
    found = read_pipeline(folder, "retrain.recipe.base_model")
    if found["task"] != recipe.task:
        raise RecipeError(
            f"retrain.recipe.task: is {recipe.task}, and {folder} holds a model of task {found['task']}; make it again "
            "with `assay first-model`", field="retrain.recipe.task",
        )  # fmt: skip
    there = {str(one["name"]): str(one["type"]) for one in found["columns"]}
    here = {column.name: column.type for column in columns}
    if differing := sorted(n for n in there.keys() | here.keys() if there.get(n) != here.get(n)):
        shown = ", ".join(f"{n} ({here.get(n, 'no input')} in the spec, {there.get(n, 'none')} in the model)"
                          for n in differing[:5])  # fmt: skip
        raise RecipeError(
            f"retrain.recipe.base_model: {folder} reads other columns than the spec declares: {shown}; make it again "
            "with `assay first-model`", field="retrain.recipe.base_model",
        )  # fmt: skip


def _check_kind(found: BaseFiles, folder: Path) -> None:
    config = found.config
    if config.get("auto_map"):
        raise _wrong(folder, "needs Python code of its own (auto_map in config.json), which is never run; choose a "
                     "base whose class the transformers library has")  # fmt: skip
    if config.get("quantization_config"):
        kind = (config["quantization_config"] or {}).get("quant_method", "quantised")
        raise _wrong(folder, f"is quantised already ({kind}, quantization_config in config.json); give the weights in "
                     "16 or 32 bits, which qlora reduces to 4 bits itself")  # fmt: skip
    if config.get("is_encoder_decoder"):
        raise _wrong(folder, f"is an encoder with a decoder ({found.model_type}), which this trainer does not train; "
                     "choose an encoder or a decoder")  # fmt: skip


def _check_class(recipe: Recipe, found: BaseFiles, folder: Path) -> None:
    classifies = KINDS[recipe.task].classifies
    kind = "SEQUENCE_CLASSIFICATION" if classifies else "CAUSAL_LM"
    wanted = library_class(found.model_type, kind)
    if wanted is None:
        raise RecipeError(
            f"retrain.recipe.base_model: the transformers library has no class for {recipe.task} of model_type "
            f"{found.model_type!r} ({folder}); choose another base",
            field="retrain.recipe.base_model",
        )
    if not classifies and found.classes and wanted not in found.classes:
        raise RecipeError(
            f"retrain.recipe.base_model: {folder} holds a {', '.join(found.classes)}, which has no output layer that "
            f"writes; task {recipe.task} needs a {wanted}",
            field="retrain.recipe.base_model",
        )
    if classifies and found.model_type in ENCODERS_OF_SUMMARIES:
        raise RecipeError(
            f"retrain.recipe.base_model: {found.model_type} reads a text from a fixed place of the batch, so that its "
            "answers would depend on the padding; choose another base",
            field="retrain.recipe.base_model",
        )


def _check_tokenizer(folder: Path) -> int:
    """The largest token id. Raises BaseModelError if there is no pad token, or the file cannot be read."""
    tokens = _json(folder / "tokenizer.json")
    settings = _json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    special = _json(folder / "special_tokens_map.json") if (folder / "special_tokens_map.json").is_file() else {}
    if settings.get("auto_map"):
        raise _wrong(folder, "has a tokenizer with Python code of its own (auto_map), which is never run; choose "
                     "another base")  # fmt: skip
    vocabulary = (tokens.get("model") or {}).get("vocab") or {}
    ids = {str(token): int(at) for token, at in vocabulary.items()} if isinstance(vocabulary, dict) else {}
    if isinstance(vocabulary, list):  # of a unigram model: pairs of piece and score, in the order of their ids
        ids = {str(pair[0]): at for at, pair in enumerate(vocabulary)}
    ids |= {str(one["content"]): int(one["id"]) for one in tokens.get("added_tokens") or ()}
    pad = settings.get("pad_token", special.get("pad_token"))
    name = pad.get("content") if isinstance(pad, dict) else pad
    if name is None and settings.get("tokenizer_class") not in PLAIN:
        name = _by_class(folder)
    if name is None:
        end = settings.get("eos_token", special.get("eos_token"))
        end = end.get("content") if isinstance(end, dict) else end
        line = f'"pad_token": {json.dumps(end or "<pad>", ensure_ascii=False)}'
        raise _wrong(folder, f"has a tokenizer without a pad token; add {line} to tokenizer_config.json"
                     + (" (the end token does, padding is never trained on)" if end else ""))  # fmt: skip
    if ids and name not in ids and name not in _added(settings):
        raise _wrong(folder, f"has the pad token {name!r}, which is not in the vocabulary of its tokenizer; name one "
                     "that is")  # fmt: skip
    return max(ids.values(), default=0)


def _by_class(folder: Path) -> str | None:
    """The pad token that a tokenizer has by its class, asked in a process of its own, for the library loads torch."""
    asked = [sys.executable, "-P", "-m", "retrain.train.pad_token", str(folder)]
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_S, check=True, env=offline)  # noqa: S603 - no shell
        found = json.loads(answer.stdout.strip().splitlines()[-1])["pad_token"]
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["no reason"]
        raise _wrong(folder, f"has a tokenizer that cannot be loaded ({last[0][:200]}); save it again") from error
    except (OSError, ValueError, IndexError, KeyError, subprocess.SubprocessError):
        return None
    return None if found is None else str(found)


def _added(settings: Mapping[str, Any]) -> set[str]:
    return {str(one.get("content")) for one in (settings.get("added_tokens_decoder") or {}).values()}


def _check_sizes(found: BaseFiles, folder: Path, largest_token: int) -> None:
    text = found.config.get("text_config") or found.config
    embedding = next(
        (shape for name, shape in found.shapes.items() if EMBEDDING.search(name) and len(shape) == 2), None
    )
    rows = embedding[0] if embedding else text.get("vocab_size")
    declared = text.get("vocab_size")
    if rows is not None and largest_token >= int(rows):
        raise _wrong(folder, f"has a tokenizer with token {largest_token}, and an embedding of {rows} rows; save the "
                     "model after resize_token_embeddings, or take the tokenizer that belongs to it")  # fmt: skip
    if embedding and declared is not None and int(declared) != embedding[0]:
        raise _wrong(folder, f"has an embedding of {embedding[0]} rows, and config.json says vocab_size {declared}; "
                     "save model and config together")  # fmt: skip
    layers = text.get("num_hidden_layers") or text.get("n_layer") or text.get("n_layers") or text.get("num_layers")
    there = [int(match[1]) for name in found.shapes if (match := LAYER.search(name))]
    if layers and there and found.model_type != "albert" and max(there) + 1 < int(layers):
        raise _wrong(folder, f"has weights of {max(there) + 1} layers, and config.json says {layers}; copy every "
                     "file, or save the model again")  # fmt: skip


def _check_length(recipe: Recipe, found: BaseFiles) -> None:
    """Learned positions end; a longer text has none."""
    table = next((shape for name, shape in found.shapes.items() if POSITIONS.search(name) and len(shape) == 2), None)
    if table is None:
        return
    declared = found.config.get("max_position_embeddings") or found.config.get("n_positions") or table[0]
    most = min(int(declared), table[0])
    if any("roberta" in name or name in ("camembert", "mpnet", "longformer", "data2vec-text", "ibert")
           for name in (found.model_type,)):  # fmt: skip
        pad = found.config.get("pad_token_id")
        most -= (1 if pad is None else int(pad)) + 1  # positions start behind that of padding
    most -= recipe.virtual_tokens if recipe.method == "prompt_tuning" else 0
    most -= recipe.virtual_tokens if recipe.method == "prefix_tuning" else 0
    if recipe.max_length > most:
        raise RecipeError(
            f"retrain.recipe.max_length: is {recipe.max_length}, and the base has positions for {most} tokens; give at "
            f"most {most}",
            field="retrain.recipe.max_length",
        )


def _check_method(recipe: Recipe, found: BaseFiles) -> None:
    """Refuse what the method cannot do right on the architecture, as the libraries behave today."""
    reason = None
    if recipe.method == "prefix_tuning" and not found.decodes:
        reason = f"prefix_tuning puts states before a text, which {found.model_type} does not take"
    elif recipe.method == "prompt_tuning" and found.decodes and KINDS[recipe.task].classifies:
        reason = "prompt_tuning of a decoder that classifies reads padding in place of the last token of a text"
    if reason:
        raise RecipeError(f"retrain.recipe.method: {reason}; use lora", field="retrain.recipe.method")
    if recipe.packing is True and (reason := _unpackable(found)):
        raise RecipeError(
            f"retrain.recipe.packing: is true, and {reason}; leave it out, so that each text has a row of its own",
            field="retrain.recipe.packing", value=True,
        )  # fmt: skip


def _unpackable(found: BaseFiles) -> str | None:
    """Why an architecture cannot tell the texts of one row apart; None where it may, which the trainer tries."""
    text = found.config.get("text_config") or found.config
    layers = [
        str(kind) for name in ("layer_types", "layers_block_type", "block_types") for kind in text.get(name) or ()
    ]
    if any(word in name for word in RECURRENT for name in (found.model_type, *layers)) or "ssm_cfg" in text:
        return f"{found.model_type} carries a state from one text of a row to the next"
    for name in ("attn_logit_softcapping", "attention_sink", "sinks"):
        if text.get(name):
            return f"the attention of {found.model_type} has {name}, which packed rows do not take"
    module = found.model_type.replace("-", "_")
    spec = find_spec("transformers")
    places = spec.submodule_search_locations if spec else None
    source = Path(places[0]) / "models" / module / f"modeling_{module}.py" if places else None
    if source is not None and source.is_file() and ATTENTION not in source.read_text(encoding="utf-8"):
        return f"{found.model_type} has an attention of its own, which packed rows cannot replace"
    return None


@cache
def _tables() -> dict[str, dict[str, str]]:
    """Class by model type and task, from the source of the installed transformers library; importing it loads torch."""
    spec = find_spec("transformers")
    places = spec.submodule_search_locations if spec else None
    found: dict[str, dict[str, str]] = {}
    if not places:
        return found
    tree = ast.parse((Path(places[0]) / "models" / "auto" / "modeling_auto.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        match = re.fullmatch(
            r"MODEL_FOR_(SEQUENCE_CLASSIFICATION|CAUSAL_LM|MASKED_LM)_MAPPING_NAMES", node.targets[0].id
        )
        if match and isinstance(node.value, ast.Call) and node.value.args:
            found[match[1]] = dict(ast.literal_eval(node.value.args[0]))
    return found


def library_class(model_type: str, task: str) -> str | None:
    """The library's class for a task (`SEQUENCE_CLASSIFICATION`, `CAUSAL_LM`, `MASKED_LM`); None where it has none."""
    found: Any = _tables().get(task, {}).get(model_type)
    return found if isinstance(found, str) or found is None else str(found[0])


def _header(folder: Path, file: Path) -> Shapes:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MAX_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        end = max((int(one["data_offsets"][1]) for one in header.values()), default=0)
        shapes = {str(name): tuple(map(int, one["shape"])) for name, one in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _wrong(folder, f"has a file {file.name} that is no safetensors file ({error}); copy it again") from error
    if file.stat().st_size < 8 + length + end:
        raise _wrong(folder, f"has a file {file.name} that is cut short; copy it again")
    return shapes


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_JSON:
            raise ValueError(f"larger than {MAX_JSON >> 20} MiB")
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(file.parent, f"has a {file.name} that cannot be read ({error}); save it again") from error
    if not isinstance(found, dict):
        raise _wrong(file.parent, f"has a {file.name} that is no JSON object; save it again")
    return found


def _wrong(folder: Path, reason: str) -> BaseModelError:
    return BaseModelError(
        f"retrain.recipe.base_model: {folder} {reason}", field="retrain.recipe.base_model", value=str(folder)
    )
