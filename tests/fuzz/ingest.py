"""Coverage-guided fuzzing of the parsers, by `make fuzz`. What it finds becomes a case of test_fuzz.py."""

import sys

import atheris

with atheris.instrument_imports(include=["monitor"]):
    from tests.monitor.ingest.bodies import PACK, TARGETS, good, read

FORMS = sorted(good())
CODINGS = sorted(PACK)


def one(data: bytes) -> None:
    """The first two bytes choose form and coding, the rest is the body."""
    if len(data) > 2:
        form, coding = FORMS[data[0] % len(FORMS)], CODINGS[data[1] % len(CODINGS)]
        for target in TARGETS:
            read(target, data[2:], form, coding)


def seeds() -> dict[str, bytes]:
    """A small good body in every form and coding."""
    bodies = good()
    return {
        f"{i}-{coding}": bytes([i, j]) + pack(bodies[form])
        for i, form in enumerate(FORMS)
        for j, (coding, pack) in enumerate(sorted(PACK.items()))
    }


if __name__ == "__main__":
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="assay-fuzz-") as folder:
        for name, body in seeds().items():
            (Path(folder) / name).write_bytes(body)
        atheris.Setup([*sys.argv, folder], one)
        atheris.Fuzz()
