"""Verify a bundle on any machine: python -m governance.verify BUNDLE."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import AppError, InvalidError
from governance.verify.against import held_bundle
from governance.verify.describe import describe
from governance.verify.earlier import read_earlier
from governance.verify.remember import remembered
from governance.verify.witnesses import witnessed


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m governance.verify BUNDLE [--key VKEY ...]`; exits 0: verifies, 1: does not, 5: signer unknown."""
    prog = "python -m governance.verify" if Path(sys.argv[0]).name == "__main__.py" else None
    parser = argparse.ArgumentParser(prog=prog, description="Verify an audit bundle offline.")
    parser.add_argument("bundle", type=Path, help="the zip file, or the folder that it was unpacked into")
    parser.add_argument(
        "--key",
        action="append",
        metavar="VKEY",
        help="trusted verifier key, or a file with one a line; may be given again",
    )
    parser.add_argument(
        "--against", action="append", type=Path, default=[], metavar="PATH",
        help="a bundle, checkpoint note or entries that you have from earlier; the log must agree with them",
    )  # fmt: skip
    parser.add_argument(
        "--last-seen", type=Path, metavar="FILE",
        help="file in which the newest checkpoint of each log is kept; the next bundle of that log must extend it",
    )  # fmt: skip
    parser.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="key of a witness that you trust"
    )
    parser.add_argument(
        "--quorum", type=int, metavar="N", help="how many of the witnesses must have cosigned; else all"
    )
    given = parser.parse_args(arguments)
    try:
        earlier = [read_earlier(path) for path in given.against]
        verdict = held_bundle(given.bundle, keys_of(given.key), earlier)
        if given.witness:
            verdict = witnessed(verdict, given.bundle, given.witness, given.quorum)
        if given.last_seen is not None:
            verdict = remembered(verdict, given.bundle, given.last_seen)
    except AppError as error:
        sys.stderr.write(f"verdict  FAILED\nreason   {error.message}\n")
        return 1
    sys.stdout.write(describe(verdict, given.bundle) + "\n")
    return verdict.exit_code


def keys_of(given: Sequence[str] | None) -> list[str] | None:
    """The keys themselves: each is a line, or a file with lines."""
    if given is None:
        return None
    lines = [line for one in given for line in (Path(one).read_text() if Path(one).is_file() else one).split()]
    if not lines:
        raise InvalidError("--key has no key", field="--key")
    return lines


if __name__ == "__main__":
    sys.exit(main())
