"""What the parts of a disparity say, in sentences."""

from typing import Final

from monitor.fairness.causes.conditional import HeldFixed
from monitor.fairness.causes.find import DisparityCauses
from monitor.fairness.causes.groups import Ranged

NAMED: Final = 3  # columns


def sentences(found: DisparityCauses) -> tuple[str, ...]:
    """The disparity, what carries it, what is left with columns held fixed, and every turn."""
    told = [_headline(found)]
    if found.together is not None:
        told.append(_carried(found))
    if found.declared is not None:
        told.append(_declared(found, found.declared))
    told += [_turned(found, one) for one in found.each if one.turn == "reversed"]
    told += [_turned(found, one) for one in found.each if one.turn == "vanishes"][:NAMED]
    apart = [f for f in found.columns if f.apart > 0.5]
    told += [
        f"{f.apart:.0%} of the rows have a value of {f.factor} that only one of the groups has, so the rows say little "
        "about it." for f in apart[:NAMED]
    ]  # fmt: skip
    return tuple(told)


def amount(value: float, *, share: bool) -> str:
    """A difference: of shares in percentage points."""
    return f"{100 * value:+.1f} points" if share else f"{value:+.4g}"


def with_ends(part: Ranged, *, share: bool) -> str:
    if part.value is None:
        return f"undefined ({part.reason})"
    assert part.low is not None  # a number has both ends
    assert part.high is not None
    low, high = (amount(end, share=share).removesuffix(" points") for end in (part.low, part.high))
    return f"{amount(part.value, share=share)} (95 % interval {low} to {high})"


def _headline(found: DisparityCauses) -> str:
    first, second = found.groups
    rate = f"{found.words} {found.positive!r}" if found.rate == "selection_rate" else found.words
    values = [f"{m:.1%}" if found.share else f"{m:.4g}" for m in found.means]
    return (
        f"{rate[0].upper()}{rate[1:]}: {second} {values[1]} of {found.n[1]:,}, {first} {values[0]} of {found.n[0]:,}; "
        f"the difference is {with_ends(found.disparity, share=found.share)}."
    )


def _carried(found: DisparityCauses) -> str:
    both = found.together
    assert both is not None
    ranked = sorted(zip(both.factors, both.parts, strict=True), key=lambda one: -abs(one[1].value or 0.0))
    clear = [f"{name} {amount(part.value or 0.0, share=found.share)}" for name, part in ranked if part.clear][:NAMED]
    what = f"{', '.join(clear)}" if clear else "none of the columns clearly"
    rest = with_ends(both.unexplained, share=found.share)
    return f"Carried by how the groups differ in: {what}. Not explained by the columns: {rest}."


def _declared(found: DisparityCauses, held: HeldFixed) -> str:
    given = _listed(held.given)
    if held.adjusted.value is None:
        return f"With {given} held fixed nothing can be compared: {held.adjusted.reason}."
    text = f"With {given} held fixed, the difference is {with_ends(held.adjusted, share=found.share)}"
    text += f", p {held.p:.3g}." if held.p is not None else "."
    if held.turn == "reversed":
        text = _turned(found, held)
    if held.thin:
        text += f" {held.thin} of {held.compared} strata with both groups are thin."
    if held.alone:
        text += f" {held.alone:.0%} of the rows are in strata of one group alone and compare nothing."
    return text


def _turned(found: DisparityCauses, held: HeldFixed) -> str:
    given, crude, left = _listed(held.given), held.crude.value or 0.0, held.adjusted
    begin = f"over all rows {found.groups[1]} has {amount(crude, share=found.share)} against {found.groups[0]}"
    if held.turn == "reversed":
        chance = "" if left.clear and held.crude.clear else "; one of the two may be chance"
        return (
            f"Simpson's reversal: {begin}, but with {given} held fixed "
            f"{with_ends(left, share=found.share)}: the direction flips{chance}."
        )
    return f"With {given} held fixed no clear difference is left: {with_ends(left, share=found.share)}, and {begin}."


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
