"""A trainer stops at its limits, with a checkpoint to go on from, and says what it used and learned."""

import socket
import time
from pathlib import Path

import pytest

from retrain.train.errors import CutRowsError, EnergyLimitError, LimitError, ParametersLimitError, TimeLimitError
from tests.retrain.train import tiny
from tests.retrain.train.test_run import ALL, small


def long_texts(folder: Path, base: Path, **more: object) -> Path:
    frame = tiny.messages(ALL, 160, seed=1)
    frame = frame.with_columns(text=frame["text"] + " card" * 30)
    return tiny.run_config(folder, base, frame, tiny.messages(ALL, 20, seed=2), **more)


LIMITS: list[tuple[dict[str, float], type[LimitError], str]] = [
    ({"max_cut_share": 0.01}, CutRowsError, "max_cut_share.train"),
    ({"max_parameters": 100}, ParametersLimitError, "max_adapter_parameters"),
]


@pytest.mark.parametrize(("limits", "kind", "name"), LIMITS, ids=[name for _, _, name in LIMITS])
def test_a_limit_passed_before_the_first_step_stops_the_run_there(
    limits: dict[str, float], kind: type[LimitError], name: str, tiny_base: Path, tmp_path: Path
) -> None:
    from retrain.train.run import train

    with pytest.raises(kind) as refused:
        train(long_texts(tmp_path, tiny_base, **limits))
    assert [one["limit"] for one in refused.value.facts["passed"]] == [name]
    assert {line["phase"] for line in tiny.progress(tmp_path / "progress.jsonl")} == {"load"}


def test_a_run_past_its_hours_or_energy_stops_with_a_checkpoint_and_goes_on_from_it_when_allowed(
    tiny_base: Path, tmp_path: Path
) -> None:
    from retrain.train.run import train

    with pytest.raises(TimeLimitError, match=r"max_gpu_hours: 0.001 s of training were over at step 1 of 30"):
        train(small(tmp_path, tiny_base, max_seconds=0.001))
    first = tiny.read(tmp_path / "out" / "used.json")
    assert (tmp_path / "out" / "checkpoints" / "checkpoint-1" / "complete.json").is_file()
    with pytest.raises(EnergyLimitError, match=r"max_kwh: .* kWh were used at step 2 of 30, as estimated, 1e-12 are"):
        train(tiny.changed(tmp_path / "run.json", max_seconds=None, max_kwh=1e-12))
    second = tiny.read(tmp_path / "out" / "used.json")
    assert second["kwh"] > first["kwh"] > 0  # energy of both attempts
    train(tiny.changed(tmp_path / "run.json", max_seconds=None, max_kwh=None))
    record = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    assert record["steps"] == 30
    assert record["used"]["kwh"] > second["kwh"]
    assert record["train_seconds"] == record["used"]["train_seconds"] > second["train_seconds"] > 0
    # Every step once, though three processes made them.
    learned, counts = record["learned"], record["counts"]["train"]
    assert len(learned["rows"]) == 30
    assert sum(learned["rows"]) == 3 * counts["rows_learned"] == 480
    assert sum(learned["tokens"]) == sum(learned["learned"]) == 3 * counts["tokens_learned"]


def test_tokens_of_completions_that_gave_a_gradient_are_those_counted_beforehand(
    tiny_causal_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrain.train.run import train

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a run opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    recipe = {"task": "causal_lm", "max_length": 64, "epochs": 1}
    train(
        tiny.run_config(
            tmp_path, tiny_causal_base, tiny.pairs(40), tiny.pairs(8), recipe=recipe, labels=[], country="DEU"
        )
    )
    record = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    counts = record["counts"]["train"]
    assert (counts["rows"], counts["rows_learned"], record["rows_dropped"]) == (40, 40, 0)
    assert record["counts"]["eval"]["rows"] == 8
    assert sum(record["learned"]["rows"]) == 40
    assert sum(record["learned"]["tokens"]) == counts["tokens"]
    assert sum(record["learned"]["learned"]) == counts["tokens_learned"] < counts["tokens"]
    used = record["used"]
    assert used["estimated"] is True
    assert used["reason"] is None
    assert 0.1 < used["co2e_kg"] / used["kwh"] < 1.0  # kg a kWh in Germany
    assert "codecarbon" in used["method"]
    assert "offline" in used["method"]


@pytest.mark.parametrize(
    ("country", "words"), [(None, "ASSAY_TRAIN__COUNTRY is not set"), ("XXZ", "no figures for XXZ")]
)
def test_co2e_without_a_known_country_is_null_with_the_reason_and_energy_is_there(
    country: str | None, words: str, tmp_path: Path
) -> None:
    from retrain.train.energy import Meter

    with Meter(tmp_path, country) as meter:
        sum(range(2_000_000))
        used = meter.keep(1.0)
    assert used.kwh is not None
    assert used.kwh > 0
    assert used.co2e_kg is None
    assert words in (used.reason or "")


def test_a_card_that_is_named_but_not_there_is_not_told_as_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrain.train.energy import Meter

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with Meter(tmp_path, None) as meter:
        assert "NVML of ;" not in meter.keep(0.1).method


def test_of_several_cards_one_process_keeps_what_was_used_and_counts_each_card(tmp_path: Path) -> None:
    from retrain.train.energy import Meter
    from retrain.train.used import USED_FILE

    with Meter(tmp_path, None, cards=4) as first, Meter(tmp_path / "other", None, cards=4, keeps=False) as second:
        time.sleep(0.2)
        kept, ended = first.keep(0.1), time.monotonic()
        second.keep(0.1)
    assert 0.8 <= kept.seconds <= 4 * (ended - first.began)
    assert (tmp_path / USED_FILE).is_file()
    assert not (tmp_path / "other").exists()
