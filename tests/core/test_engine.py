"""The engine: the same results whichever runs the calls, in order, errors by name, and killed workers told."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.engine import HERE, Call, CallFailedError, ClusterUnreachableError, WorkersLostError, run
from core.errors import InvalidError
from core.settings import EngineSettings
from tests.core.engine_calls import NarrowError, die_once, refuse, square, stumble, where

TWO = EngineSettings(jobs=2)
EACH = pytest.mark.parametrize("engine", [HERE, TWO], ids=["here", "loky"])


def squares(count: int) -> list[Call[int]]:
    return [Call(f"square of {i}", square, (i,)) for i in range(count)]


@EACH
def test_results_come_in_the_order_of_the_calls(engine: EngineSettings) -> None:
    assert list(run(engine, squares(20))) == [i * i for i in range(20)]
    assert list(run(engine, [])) == []


@EACH
def test_calls_are_taken_as_they_are_needed(engine: EngineSettings) -> None:
    taken = 0

    def calls() -> Iterator[Call[int]]:
        nonlocal taken
        for call in squares(1000):
            taken += 1
            yield call

    results = run(engine, calls())
    assert next(results) == 0
    assert taken <= 16
    results.close()  # type: ignore[attr-defined]  # a generator


@EACH
def test_the_first_error_in_order_is_raised_as_it_was_and_names_its_call(engine: EngineSettings) -> None:
    with pytest.raises(NarrowError, match="model loans has no version 2") as caught:
        list(run(engine, [Call(f"call {x}", refuse, (x,)) for x in range(5)]))
    assert caught.value.facts == {"model": "loans", "version": 2}
    assert caught.value.__notes__ == ["in call 2"]


@EACH
def test_an_error_that_cannot_travel_is_told_in_words(engine: EngineSettings) -> None:
    with pytest.raises(CallFailedError, match="third block: UnknownToOthersError: at 3") as caught:
        list(run(engine, [Call("third block", stumble, (3,)), Call("fourth", stumble, (4,))]))
    assert "engine_calls.py" in caught.value.__notes__[0]


def test_one_job_stays_in_this_process_and_two_leave_it_without_torch() -> None:
    calls = [Call("where", where, ()) for _ in range(4)]
    assert {pid for pid, _, _ in run(HERE, calls)} == {os.getpid()}
    others = list(run(TWO, calls))
    assert os.getpid() not in {pid for pid, _, _ in others}
    assert not any(torch for _, torch, _ in others)
    assert {threads for _, _, threads in others} == {max(1, (os.cpu_count() or 1) // 2)}


def test_a_killed_worker_is_told_by_name_and_the_work_can_be_repeated(tmp_path: Path) -> None:
    calls = [Call(f"block {x}", die_once, (x, str(tmp_path / "died"))) for x in range(4)]
    with pytest.raises(WorkersLostError, match="a worker process ended during block 0") as caught:
        list(run(TWO, calls))
    assert caught.value.retry_after_s > 0
    assert list(run(TWO, calls)) == [0, 1, 2, 3]


def test_a_cluster_that_does_not_answer_is_told_at_once() -> None:
    engine = EngineSettings(kind="ray", jobs=2, ray_address="127.0.0.1:9")
    with pytest.raises(ClusterUnreachableError, match="no Ray cluster answers"):
        list(run(engine, squares(2)))


def test_an_error_of_a_narrow_kind_is_still_an_error_of_its_family() -> None:
    with pytest.raises(InvalidError):
        list(run(TWO, [Call("call 3", refuse, (3,))]))
