"""`start: best`: trained from the champion's adapter and from the base, and the better one on validation rows kept."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.retrain.train import tiny
from tests.retrain.train.test_killed import kill_at, weights

pytestmark = pytest.mark.filterwarnings("ignore")
ALL = (*tiny.OLD, *tiny.NEW)
FIRST = {"rows": 40, "accuracy": 0.9, "loss": 0.5, "train_seconds": 30.0, "kwh": 0.1, "steps": 10}


@pytest.mark.parametrize(
    ("champion", "fresh", "chosen", "words"),
    [
        (FIRST, FIRST | {"accuracy": 0.95}, "fresh", "^a fresh one is right on 0.9500 of 40 validation rows"),
        (FIRST, FIRST | {"accuracy": 0.85}, "champion", "^the champion's adapter, trained on, is right on 0.9000"),
        (FIRST, FIRST | {"loss": 0.4}, "fresh", "both are right on 0.9000 of them; a fresh one has the loss 0.4000"),
        (FIRST, FIRST, "champion", "has the loss 0.5000"),
        (FIRST | {"accuracy": None}, FIRST | {"accuracy": None, "loss": 0.6}, "champion", "^on 40 validation rows the"),
        ({"reason": "loss is nan"}, FIRST, "fresh", "was not trained to its end: loss is nan"),
        (FIRST, {"reason": "so much is not left"}, "champion", "a fresh one was not trained to its end: so much"),
    ],
)  # fmt: skip
def test_the_better_on_validation_rows_is_kept(champion: Any, fresh: Any, chosen: str, words: str) -> None:
    import re

    from retrain.train.starts import choose

    found, reason = choose({"champion": champion, "fresh": fresh})
    assert found == chosen
    assert re.search(words, reason), reason


def test_validation_rows_are_none_that_the_champion_may_have_learned() -> None:
    from retrain.train.config import Recipe
    from retrain.train.starts import chosen_rows

    recipe = Recipe.model_validate({"base_model": "/b", "task": "sequence_classification", "start": "best"})
    rows = pl.DataFrame({"text": [str(i) for i in range(500)]})
    kept, held = chosen_rows(rows, 200, recipe)
    assert held.height == 30  # a tenth of the 300 new ones
    assert min(map(int, held["text"])) >= 200
    assert kept.height == 470
    assert set(kept["text"]).isdisjoint(held["text"])
    few, watched = chosen_rows(rows, 470, recipe)
    assert (few.height, watched.height) == (485, 15)


def test_a_second_training_that_does_not_fit_what_is_left_is_not_begun(tmp_path: Path) -> None:
    from retrain.train.config import RunConfig
    from retrain.train.config_file import load_config
    from retrain.train.starts import only_start, too_much, trains_both

    own = load_config(config(tmp_path, tmp_path / "base", tmp_path / "parent"), RunConfig)
    assert too_much(own, FIRST) is None
    assert too_much(own.model_copy(update={"max_seconds": 60.0}), FIRST) is None
    assert "two would take 60.0 s of the 59.0 s" in str(too_much(own.model_copy(update={"max_seconds": 59.0}), FIRST))
    assert "two would use 0.2 of the 0.15 kWh" in str(too_much(own.model_copy(update={"max_kwh": 0.15}), FIRST))
    assert trains_both(own)
    assert only_start(own.model_copy(update={"cards": 2})) == (
        "champion", "train.cards is 2, and both starts are trained on one card only",
    )  # fmt: skip
    assert only_start(own.model_copy(update={"rehearsed": 150})) == (
        "champion", "10 training rows are new to the champion, and choosing needs 20",
    )  # fmt: skip
    assert only_start(own.model_copy(update={"fresh_because": "another base"})) == ("fresh", "another base")
    assert not trains_both(own.model_copy(update={"phase": "fresh"}))


def test_a_limit_or_a_loss_that_is_not_finite_ends_one_training_and_the_other_is_kept(
    tiny_base: Path, tmp_path: Path
) -> None:
    """The trainings themselves are played here: what is tested is what becomes of each outcome, and of a kill."""
    from retrain.train import starts
    from retrain.train.config import RunConfig
    from retrain.train.config_file import load_config
    from retrain.train.energy import Meter
    from retrain.train.errors import NonFiniteLossError, TimeLimitError
    from retrain.train.progress import Progress, write_json

    own = load_config(config(tmp_path, tiny_base, tmp_path / "parent"), RunConfig)
    begun: list[str] = []
    stops: dict[str, Exception] = {}

    def once(given: RunConfig, _progress: Progress, meter: Meter) -> None:
        begun.append(str(given.phase))
        if str(given.phase) in stops:
            raise stops[str(given.phase)]
        used = {"kwh": 0.0}
        write_json(given.output_dir / "adapter" / "run.json", {
            "digests": {"config": given.digest()}, "validation": {"rows": 20, "accuracy": 1.0, "loss": 0.1}, "steps": 5,
            "train_seconds": 10.0 * len(begun), "used": used, "device": "cpu",
        })  # fmt: skip
        meter.trained_s = 10.0 * len(begun)

    limit = TimeLimitError("over", limit="max_gpu_hours", declared=1, measured=2)
    with Meter(own.output_dir, None) as meter:

        def go() -> Any:
            begun.clear()
            starts.train_best(own, once, Progress(own.progress), meter)
            found = record(tmp_path)["starts"]
            shutil.rmtree(own.output_dir / "adapter")
            return found

        stops["champion"] = limit
        with pytest.raises(TimeLimitError):  # nothing is trained yet: the run waits for a person
            go()
        stops["champion"] = NonFiniteLossError("loss is nan at step 1")
        assert go()["chosen"] == "fresh"
        assert begun == ["champion", "fresh"]
        stops |= {"champion": NonFiniteLossError("nan"), "fresh": NonFiniteLossError("nan too")}
        with pytest.raises(NonFiniteLossError, match="champion: nan; fresh: nan too"):
            go()
        begun.clear()
        with pytest.raises(NonFiniteLossError):  # what failed is not tried again after a kill
            starts.train_best(own, once, Progress(own.progress), meter)
        assert begun == []
        starts.drop_starts(own)
        stops.clear()
        stops["fresh"] = limit
        found = go()
        assert found["chosen"] == "champion"
        assert "stopped at a limit: over" in found["fresh"]["reason"]
        assert not (own.output_dir / "starts").exists()


def config(folder: Path, base: Path, parent: Path | None, rows: int = 160, **more: Any) -> Path:
    recipe = {"start": "best", "epochs": 2, **more.pop("recipe", {})}
    train, held_out = tiny.messages(ALL, rows, seed=1), tiny.messages(ALL, 20, seed=2)
    given = {"rehearsed": 60, "parent_adapter": None if parent is None else str(parent)} | more
    return tiny.run_config(folder, base, train, held_out, recipe=recipe, **given)


def record(folder: Path) -> Any:
    return tiny.read(folder / "out" / "adapter" / "run.json")


@pytest.fixture(scope="module")
def best(trained: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from retrain.train.run import train

    folder = tmp_path_factory.mktemp("best")
    train(config(folder, tiny_base, trained / "out" / "adapter"))
    return folder


def test_both_starts_are_trained_and_told_with_their_figures_and_one_is_left(best: Path) -> None:
    found = record(best)
    starts = found["starts"]
    for phase in ("champion", "fresh"):
        assert starts[phase]["rows"] == 20  # of 100 rows that are new to the champion
        assert 0 <= starts[phase]["accuracy"] <= 1
        assert starts[phase]["loss"] > 0
        assert starts[phase]["train_seconds"] > 0
    other = "fresh" if starts["chosen"] == "champion" else "champion"
    assert starts[starts["chosen"]]["accuracy"] >= starts[other]["accuracy"]
    assert "validation rows" in starts["reason"]
    assert found["rows_validation"] == 20
    assert found["train_seconds"] == pytest.approx(sum(starts[p]["train_seconds"] for p in ("champion", "fresh")))
    assert found["config"]["recipe"]["start"] == "best"
    assert "phase" not in found["config"]
    assert sorted(p.name for p in (best / "out").iterdir()) == ["adapter", "used.json"]


def test_a_run_that_was_chosen_is_left_alone_when_it_is_started_once_more(best: Path) -> None:
    from retrain.train.run import train

    stamp = (best / "out/adapter/run.json").stat().st_mtime_ns
    (best / "out/starts/fresh").mkdir(parents=True)  # killed before it was tidied
    train(best / "run.json")
    assert (best / "out/adapter/run.json").stat().st_mtime_ns == stamp
    assert not (best / "out/starts").exists()


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["champion", "fresh"])
def test_a_run_killed_in_either_training_ends_as_one_left_alone(
    phase: str, best: Path, trained: Path, tiny_base: Path, tmp_path: Path
) -> None:
    from retrain.train.run import train

    path = config(tmp_path, tiny_base, trained / "out" / "adapter")
    kill_at(path, tmp_path / "out" / "starts" / phase)
    train(path)
    one, other = record(tmp_path), record(best)
    assert weights(tmp_path) == weights(best)
    assert one["loss"] == other["loss"]
    for side in ("champion", "fresh"):
        figures = ("rows", "accuracy", "loss", "steps")
        assert [one["starts"][side][f] for f in figures] == [other["starts"][side][f] for f in figures]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["adapter", "used.json"]
