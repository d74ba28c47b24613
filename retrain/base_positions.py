"""How long a text may be that a base reads: it has learned so many positions, or turns so far."""

import re
from collections.abc import Mapping
from typing import Any, Final

from retrain.base_library import source_of
from retrain.base_weights import Shapes
from retrain.errors import RecipeError
from retrain.train.config import VIRTUAL, Recipe

POSITIONS: Final = re.compile(r"(position_embeddings|positions_embed|wpe|embed_positions)\.weight$")
# Architectures whose positions start behind the number of the pad token, and those with positions of no saved table.
FROM_PAD: Final = (
    "camembert", "mpnet", "longformer", "data2vec-text", "ibert", "esm", "lilt", "layoutlmv3", "markuplm", "luke",
    "xmod",
)  # fmt: skip
COUNTED: Final = ("ctrl", "gptj", "codegen")
ROTARY: Final = "RotaryEmbedding"  # how a module of the library calls positions that are turns
STRETCHED: Final = ("linear", "dynamic", "yarn")  # kinds of turns that reach `factor` times as far as was declared


def check_length(recipe: Recipe, config: Mapping[str, Any], shapes: Shapes) -> None:
    """Refuse texts for which the base has no positions, or which are longer than what its turns were trained for.

    Learned positions end. Turns go on, and what they give there was never learned; servers refuse it.

    Raises:
        RecipeError: says how many tokens there may be.
    """
    model_type = str(config.get("model_type"))
    table = next((shape for name, shape in shapes.items() if POSITIONS.search(name) and len(shape) == 2), None)
    most = _turned(config, model_type) if table is None else min(filter(None, (_declared(config), table[0])))
    if most is None:
        return
    if table is not None and ("roberta" in model_type or model_type in FROM_PAD):
        pad = 1 if model_type == "mpnet" else config.get("pad_token_id")
        most -= (1 if pad is None else int(pad)) + 1
    most -= recipe.virtual_tokens if recipe.method in VIRTUAL else 0
    if recipe.max_length > most:
        raise RecipeError(
            f"retrain.recipe.max_length: is {recipe.max_length}, and the base has positions for {most} tokens; give at "
            f"most {most}",
            field="retrain.recipe.max_length",
        )


def _declared(config: Mapping[str, Any]) -> int | None:
    for where in (config.get("text_config") or {}, config):
        found = where.get("max_position_embeddings") or where.get("n_positions")
        if found is not None:
            return int(found)
    return None


def _turned(config: Mapping[str, Any], model_type: str) -> int | None:
    """Of positions without a saved table, the last; None where they have no end, such as biases by distance."""
    declared = _declared(config)
    if declared is None or model_type in COUNTED:
        return declared
    text = config.get("text_config") or config
    if text.get("alibi") or ROTARY not in source_of(str(text.get("model_type") or model_type)):
        return None
    return max([declared, *(_stretched(one, declared) for one in _scalings(text))])


def _scalings(text: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a config says of its turns, in either of the library's two spellings; some differ by kind of layer."""
    found = [text.get(name) for name in ("rope_scaling", "rope_parameters")]
    given = [one for one in found if isinstance(one, Mapping)]
    return [*given, *(below for one in given for below in one.values() if isinstance(below, Mapping))]


def _stretched(scaling: Mapping[str, Any], declared: int) -> int:
    factor, kind = scaling.get("factor"), scaling.get("rope_type") or scaling.get("type")
    if kind not in STRETCHED or not isinstance(factor, int | float) or isinstance(factor, bool):
        return declared
    return int(factor * (scaling.get("original_max_position_embeddings") or declared))
