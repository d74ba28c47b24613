"""Which class counts as positive: the declared one; a convention for true/false and 1/0; otherwise none is guessed."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from monitor.levels import answer, other_truths

Source = Literal["declared", "convention", "assumed", "each class", "none"]
_CONVENTIONS: Final = ({"0", "1"}, {"false", "true"})
_BARE: Final = {"true": ("yes", "on"), "false": ("no", "off")}  # what YAML reads as them where no quotes stand
MAX_NAMED: Final = 6  # classes that a reason lists


@dataclass(frozen=True)
class Positive:
    """The class whose rates are compared.

    Attributes:
        level: the class; None where each class is compared with the rest, and where it is not known.
        source: `declared` by the spec; `convention`: true of true/false, 1 of 1/0; `assumed`: the last in order of two
            named classes, for specs of earlier releases; `each class`: there are more than two; `none`: not known.
        reason: why rates of the class cannot be compared; None where they can.
    """

    level: str | None
    source: Source
    reason: str | None = None


def positive_class(
    declared: str | None, seen: Collection[str], *, key: str, truth: bool = False, assume: bool = False
) -> Positive:
    """The class that counts as positive.

    Args:
        declared: as the spec names it; compared as a level, so `True` is `true` and `1.0` is `1`. Where no class is
            `true`, it is `yes` or `on`, which YAML reads as true; `false` likewise.
        seen: the classes among the rows, as levels.
        key: where the spec names it, for the reason, such as `columns.decision.positive`.
        truth: whether the prediction or the outcome is declared as boolean: 1 and 0 are then true and false.
        assume: whether the last in order of two named classes may stand in for a declared one.

    Returns:
        The class, or a reason that names the key and the classes seen.

    Source: the spec; the conventions of scikit-learn's `pos_label` for true/false and 1/0.
    """
    known = sorted(seen)
    if declared is not None:
        level = answer(declared, truth=truth) or declared
        level = other_truths(set(known)).get(level, level)
        if level not in seen and len(meant := [n for n in known if n.casefold() in _BARE.get(level, ())]) == 1:
            level = meant[0]
        if known and level not in seen:
            return Positive(level, "declared", _never(level, known, key))
        return Positive(level, "declared")
    for pair in _CONVENTIONS:
        if (known and set(known) <= pair) or (truth and "true" in pair):
            level = max(pair)
            return Positive(level, "convention", None if level in seen or not known else _never(level, known, key))
    if not known:
        return Positive(None, "none")
    if len(known) > 2:
        return Positive(None, "each class")
    if assume:
        return Positive(known[-1], "assumed")
    told = " and ".join(map(repr, known))
    one = f"only the class {told} occurs" if len(known) == 1 else f"the classes are {told}"
    return Positive(
        None, "none", f"{one}, and no positive class is declared; name it, such as `positive: {known[0]}`, in {key}"
    )


def _never(level: str, known: list[str], key: str) -> str:
    more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
    alike = [name for name in known if name.casefold().strip() == level.casefold().strip()]
    meant = f"; did you mean {alike[0]!r} in {key}?" if alike else ""
    return f"the positive class {level!r} never occurs; classes: {', '.join(map(repr, known[:MAX_NAMED]))}{more}{meant}"
