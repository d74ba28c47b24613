"""When the explaining process is started, kept and ended."""

import pytest

from retrain.explain.process import then


@pytest.mark.parametrize(
    ("running", "idle", "training", "card", "expected"),
    [
        (False, True, True, False, "start"), (False, True, True, True, None), (False, True, False, False, None),
        (True, False, False, False, None), (True, True, False, False, "end"), (True, True, True, False, "stay"),
        (True, False, True, True, "end"), (True, False, False, True, None), (True, True, False, True, "end"),
    ],
)  # fmt: skip
def test_the_process_is_ready_beside_a_training_but_never_holds_the_card_of_one(
    running: bool, idle: bool, training: bool, card: bool, expected: str | None
) -> None:
    assert then(running=running, idle=idle, training=training, card=card) == expected
