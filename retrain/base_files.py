"""What the files of a base model say about it, checked when a spec is applied: no weight is read, and no torch loaded.

Read are config.json, the tokenizer's JSON, and the headers of the safetensors files. Which class of the library
classifies or writes comes from the library's own table, read as source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from monitor.levels import level
from retrain.base_library import backbone_of, library_class, source_of
from retrain.base_positions import check_length
from retrain.base_tokenizer import check_tokenizer, has_template
from retrain.base_weights import Shapes, read_headers, read_json, wrong
from retrain.base_whole import EMBEDDING, LAYER, check_whole
from retrain.errors import BaseModelError, RecipeError
from retrain.train.config import Recipe
from retrain.train.kinds import KINDS
from retrain.train.tabular.files import read_pipeline
from retrain.train.tabular.recipe import TableColumn, TableRecipe

ATTENTION: Final = "_supports_attention_backend = True"  # how a class says that its attention may be another one
# Encoders whose answer depends on the padding: they read one token of fixed place, or mix padding into the text.
READ_PADDING: Final = ("xlnet", "xlm", "flaubert", "fnet", "convbert", "mobilebert", "nystromformer", "yoso")
# Words of model types and layers in which a text leaves a trace in the next one of its row.
RECURRENT: Final = (
    "mamba", "rwkv", "recurrent", "linear_attention", "conv", "xlstm", "chunked_attention", "hybrid", "jamba", "bamba",
    "zamba", "falcon_h1", "nemotron_h", "minimax",
)  # fmt: skip
WEIGHTS: Final = ("F64", "F32", "F16", "BF16")  # as safetensors calls what is no quantised weight
SIZES: Final = ("vocab_size", "num_hidden_layers", "n_layer", "n_layers", "num_layers", "max_position_embeddings",
                "n_positions", "pad_token_id")  # fmt: skip


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """What was read of a base."""

    config: Mapping[str, Any]
    shapes: Shapes
    types: Mapping[str, str]

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

        A head is one of a sequence classifier, with a row for each label that config.json names, and lies outside the
        backbone. Placeholders (LABEL_0) name nothing; the head of another task (a question's answer, a token's class)
        answers no text; and a single row, or a regression's, gives numbers.
        """
        names = self.config.get("id2label") or {}
        ordered = [level(str(names[key])) or str(names[key]) for key in sorted(names, key=int)]
        classifies = library_class(self.model_type, "SEQUENCE_CLASSIFICATION")
        if len(ordered) < 2 or all(name == f"LABEL_{i}" for i, name in enumerate(ordered)):
            return None
        if classifies not in self.classes or self.config.get("problem_type") == "regression":
            return None
        backbone = f"{backbone_of(self.model_type)}."
        heads = [
            name
            for name, shape in self.shapes.items()
            if len(shape) == 2 and shape[0] == len(ordered) and not LAYER.search(name)
            and "embed" not in name and not EMBEDDING.search(name) and not name.startswith(backbone)
        ]  # fmt: skip
        return ordered if heads else None


def read_base(folder: Path) -> BaseFiles:
    """
    Raises:
        BaseModelError: config.json cannot be read, or the weights are not whole.
    """
    config = read_json(folder / "config.json")
    _check_config(config, folder)
    found = read_headers(folder)
    return BaseFiles(config, found.shapes, found.types)


def check_recipe(recipe: Recipe, folder: Path) -> BaseFiles:
    """Refuse a base that this recipe could not train, or that would answer wrongly afterwards.

    Raises:
        BaseModelError: the files are damaged, need code of their own, are quantised, or do not fit together.
        RecipeError: the recipe asks of the base what it cannot do; the error names the key.
    """
    found = read_base(folder)
    _check_kind(found, folder)
    _check_class(recipe, found, folder)
    if KINDS[recipe.task].classifies:
        _check_labels(found, folder)
    plain = recipe.chat.template == "none" or not has_template(folder)  # a template may have a token of its own
    largest = check_tokenizer(folder, ends=plain and not KINDS[recipe.task].classifies)
    _check_sizes(found, folder, largest)
    check_length(recipe, found.config, found.shapes)
    answers = KINDS[recipe.task].classifies and found.labels is not None
    head = library_class(found.model_type, "SEQUENCE_CLASSIFICATION") if answers else None
    check_whole(found.shapes, found.model_type, head, folder)
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


def _check_config(config: Mapping[str, Any], folder: Path) -> None:
    """Refuse values of a type that no reader of config.json takes."""
    for name in ("id2label", "label2id", "text_config", "quantization_config"):
        if not isinstance(config.get(name) or {}, Mapping):
            raise _strange(folder, name, config[name], "an object")
    if not isinstance(config.get("architectures") or [], list):
        raise _strange(folder, "architectures", config["architectures"], "a list of names")
    for where in (config, config.get("text_config") or {}):
        for name in SIZES:
            if not isinstance(where.get(name) or 0, int):
                raise _strange(folder, name, where[name], "a whole number")
    names = config.get("id2label") or {}
    if sorted(map(str, names), key=lambda key: (len(key), key)) != [str(i) for i in range(len(names))]:
        raise _strange(folder, "id2label", list(names), 'labels under "0", "1" and so on')


def _strange(folder: Path, name: str, value: Any, wanted: str) -> BaseModelError:
    return wrong(folder, f"has {name} {str(value)[:60]!r} in config.json, which must be {wanted}; save the model again")


def _check_labels(found: BaseFiles, folder: Path) -> None:
    """Refuse names of the head's rows that no outcome can be, or that name two rows."""
    names = found.labels or []
    given = (found.config.get("id2label") or {}).values()
    if found.labels is not None and (empty := [one for one in given if one is None or level(str(one)) is None]):
        raise wrong(folder, f"names a label {empty[0]!r} in id2label of config.json, which is no value; name each row "
                    "of the head as its outcome is written")  # fmt: skip
    levels = [level(name) for name in names]
    if twice := next((name for name, one in zip(names, levels, strict=True) if levels.count(one) > 1), None):
        raise wrong(folder, f"names the label {twice!r} twice in id2label of config.json; give each row of the head a "
                    "name of its own")  # fmt: skip


def _check_kind(found: BaseFiles, folder: Path) -> None:
    config = found.config
    if config.get("auto_map"):
        raise wrong(folder, "needs Python code of its own (auto_map in config.json), which is never run; choose a "
                    "base whose class the transformers library has")  # fmt: skip
    for name in ("quantization_config", "compression_config", "quantization"):
        if kind := config.get(name):
            kind = (
                (kind.get("quant_method") or f"{kind.get('bits', 'few')} bits") if isinstance(kind, Mapping) else kind
            )
            raise wrong(folder, f"is quantised already ({kind}, {name} in config.json); give the weights in 16 or 32 "
                        "bits, which qlora reduces to 4 bits itself")  # fmt: skip
    packed = [n for n, kind in found.types.items() if kind not in WEIGHTS and n.endswith(("weight", "qweight"))]
    if packed:
        raise wrong(folder, f"is quantised already ({packed[0]} is {found.types[packed[0]]}); give the weights in 16 "
                    "or 32 bits, which qlora reduces to 4 bits itself")  # fmt: skip
    if config.get("is_encoder_decoder"):
        raise wrong(folder, f"is an encoder with a decoder ({found.model_type}), which this trainer does not train; "
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
    if classifies and found.model_type in READ_PADDING:
        raise RecipeError(
            f"retrain.recipe.base_model: {found.model_type} reads a text together with the padding behind it, so that "
            "its answers would depend on what else is in the batch; choose another base",
            field="retrain.recipe.base_model",
        )


def _check_sizes(found: BaseFiles, folder: Path, largest_token: int) -> None:
    text = found.config.get("text_config") or found.config
    embedding = next(
        (shape for name, shape in found.shapes.items() if EMBEDDING.search(name) and len(shape) == 2), None
    )
    rows = embedding[0] if embedding else text.get("vocab_size")
    declared = text.get("vocab_size")
    if rows is not None and largest_token >= int(rows):
        raise wrong(folder, f"has a tokenizer with token {largest_token}, and an embedding of {rows} rows; save the "
                     "model after resize_token_embeddings, or take the tokenizer that belongs to it")  # fmt: skip
    if embedding and declared is not None and int(declared) != embedding[0]:
        raise wrong(folder, f"has an embedding of {embedding[0]} rows, and config.json says vocab_size {declared}; "
                     "save model and config together")  # fmt: skip
    layers = text.get("num_hidden_layers") or text.get("n_layer") or text.get("n_layers") or text.get("num_layers")
    there = [int(match[1]) for name in found.shapes if (match := LAYER.search(name))]
    if layers and there and found.model_type != "albert" and max(there) + 1 < int(layers):
        raise wrong(folder, f"has weights of {max(there) + 1} layers, and config.json says {layers}; copy every "
                     "file, or save the model again")  # fmt: skip


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
    source = source_of(found.model_type)
    if source and ATTENTION not in source:
        return f"{found.model_type} has an attention of its own, which packed rows cannot replace"
    return None
