"""Verify a bundle on any machine: python -m governance.verify BUNDLE."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import AppError
from governance.verify.bundle import verify_bundle
from governance.verify.describe import describe


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m governance.verify BUNDLE [--key VKEY ...]`; exits 0: verifies, 1: does not, 5: signer unknown."""
    parser = argparse.ArgumentParser(prog="python -m governance.verify", description="Verify an audit bundle offline.")
    parser.add_argument("bundle", type=Path, help="the zip file, or the folder that it was unpacked into")
    parser.add_argument("--key", action="append", metavar="VKEY", help="trusted verifier key; may be given again")
    given = parser.parse_args(arguments)
    try:
        verdict = verify_bundle(given.bundle, given.key)
    except AppError as error:
        sys.stderr.write(f"verdict  FAILED\nreason   {error.message}\n")
        return 1
    sys.stdout.write(describe(verdict, given.bundle) + "\n")
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
