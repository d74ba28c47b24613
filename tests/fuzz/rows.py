"""Fuzz the parsers of bodies of rows. What it finds becomes a case of tests/monitor/ingest/test_fuzz.py."""

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
    from tests.fuzz.bounded import fuzz

    fuzz(one, seeds())
