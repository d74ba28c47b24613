"""How many of the witnesses that a reader trusts have cosigned the checkpoint of a bundle."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.errors import AppError, InvalidError
from governance.proof.cosignature import WitnessKey, cosignatures
from governance.verify.earlier import read_earlier
from governance.verify.findings import BundleVerdict, Finding


def witnessed(verdict: BundleVerdict, bundle: Path, witnesses: Sequence[str], quorum: int | None) -> BundleVerdict:
    """Require cosignatures on the checkpoint of a bundle.

    Args:
        witnesses: their public keys.
        quorum: how many of them must have cosigned; None means all.

    Raises:
        KeyFormatError: a key is none of a witness.
        InvalidError: the quorum is not between 1 and the number of witnesses.
    """
    keys = {str(WitnessKey.parse(one)) for one in witnesses}
    wanted = len(keys) if quorum is None else quorum
    if not 1 <= wanted <= len(keys):
        raise InvalidError(f"a quorum of {wanted} of {len(keys)} witnesses; give 1 to {len(keys)}", field="--quorum")
    notes = read_earlier(bundle).notes
    try:
        found = cosignatures(notes[0], sorted(keys)) if notes else {}
    except AppError:
        found = {}  # no note at all, which is a finding already
    said = ", ".join(f"{label} at {at:%Y-%m-%d %H:%M:%S} UTC" for label, at in sorted(found.items())) or "none"
    if len(found) < wanted:
        missing = Finding("witness.quorum", "checkpoint", f"cosignatures of {wanted} of {len(keys)} witnesses", said)
        return replace(verdict, findings=(*verdict.findings, missing))
    return replace(verdict, held=(*verdict.held, f"witnesses: {said}"))
