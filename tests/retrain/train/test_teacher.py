"""Learning from a teacher: its answers are asked once, matched by name, and mixed with the outcomes as declared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrain.train.config import RunConfig
from retrain.train.config_file import load_config
from retrain.train.weights import folder_digest
from tests.retrain.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore")


def taught_by(base: Path) -> dict[str, Any]:
    teacher = {"version": "v1", "base_model": str(base), "base_digest": folder_digest(base)}
    return {"teacher": teacher, "teacher_dir": str(base)}


def config(folder: Path, base: Path, rows: Any, held: Any, **recipe: Any) -> Path:
    keys = {"method": "full", "teacher": "champion"} | recipe
    labels = {"labels": []} if keys.get("task") == "causal_lm" else {"labels": ["pin", *reversed(tiny.OLD)]}
    return tiny.run_config(folder, base, rows, held, recipe=keys, **labels, **taught_by(base))


def test_the_divergence_is_that_of_scipy_and_of_likeliest_tokens_never_more() -> None:
    torch, scipy = pytest.importorskip("torch"), pytest.importorskip("scipy")
    from retrain.train.tasks.taught import divergence, divergence_of_likeliest

    student, teacher = (torch.tensor(np.random.default_rng(i).normal(size=(5, 9)), dtype=torch.float32) for i in (1, 2))
    shares = torch.softmax(teacher, dim=1)
    expected = scipy.stats.entropy(shares.numpy(), torch.softmax(student, dim=1).numpy(), axis=1)
    assert divergence(student, teacher).numpy() == pytest.approx(expected, abs=1e-5)
    for kept in (1, 4, 9):
        best = shares.topk(kept)
        found = divergence_of_likeliest(student, best.indices, best.values).numpy()
        assert (found <= expected + 1e-5).all()
        assert (found >= -1e-5).all()
        if kept == 9:
            assert found == pytest.approx(expected, abs=1e-4)


def test_labels_are_matched_by_name_and_others_learn_from_outcomes_alone(tiny_base: Path, tmp_path: Path) -> None:
    from retrain.train.model import load_classifier
    from retrain.train.tasks.taught import divergence
    from retrain.train.teacher import class_lessons

    rows = tiny.messages((*tiny.OLD, "pin"), 40, seed=1)
    run = load_config(config(tmp_path, tiny_base, rows, rows), RunConfig)
    texts, labels = rows["text"].to_list(), rows["label"].to_list()
    told: list[tuple[int, int]] = []
    lessons = class_lessons(run, texts, labels, tmp_path / "teacher", lambda done, of: told.append((done, of)))
    model = load_classifier(tiny_base, device="cpu", threads=1, max_length=24, quantise=False)
    by_name = dict(zip(model.labels, model.logits(texts).T, strict=True))
    for place, name in ((place, run.labels[i]) for place, i in enumerate(lessons.student)):
        assert lessons.of(range(40))[:, place].numpy() == pytest.approx(by_name[name], abs=1e-4)
    assert lessons.facts["labels_of_outcomes_alone"] == ["pin"]
    assert lessons.facts["rows_of_outcomes_alone"] == labels.count("pin")
    assert lessons.facts["rows_taught"] == 40 - labels.count("pin")
    assert told == [(0, 40), (40, 40)]
    again = class_lessons(run, texts, labels, tmp_path / "teacher", lambda *_: pytest.fail("asked twice"))
    assert float(divergence(lessons.of([3, 7]), again.of([3, 7])).abs().max()) == 0


def test_a_killed_run_goes_on_where_the_teacher_was_asked(tiny_base: Path, tmp_path: Path) -> None:
    from retrain.train.teacher import class_lessons

    rows = tiny.messages(tiny.OLD, 700, seed=1)
    run = load_config(config(tmp_path, tiny_base, rows, rows), RunConfig)
    given = (run, rows["text"].to_list(), rows["label"].to_list())

    def killed(done: int, _of: int) -> None:
        if done == 512:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_lessons(*given, tmp_path / "teacher", killed)
    told: list[int] = []
    resumed = class_lessons(*given, tmp_path / "teacher", lambda done, _: told.append(done))
    whole = class_lessons(*given, tmp_path / "other", lambda *_: None)
    assert told == [512, 700]
    assert np.array_equal(resumed.scores, whole.scores)


def test_a_teacher_whose_files_changed_or_who_knows_none_of_the_labels_is_refused(
    tiny_base: Path, tmp_path: Path
) -> None:
    from retrain.train.errors import DataDigestError, DataError
    from retrain.train.teacher import class_lessons

    rows = tiny.messages(tiny.NEW, 20, seed=1)
    given = rows["text"].to_list(), rows["label"].to_list(), tmp_path / "teacher", lambda *_: None
    path = config(tmp_path, tiny_base, rows, rows)
    other = tiny.changed(path, labels=list(tiny.NEW))
    with pytest.raises(DataError, match="fewer than two labels are alike"):
        class_lessons(load_config(other, RunConfig), *given)
    changed = taught_by(tiny_base)["teacher"] | {"base_digest": "sha256:" + "0" * 64}
    with pytest.raises(DataDigestError, match="teacher"):
        class_lessons(load_config(tiny.changed(path, teacher=changed), RunConfig), *given)


def test_a_writer_learns_the_teachers_next_tokens_and_early_stopping_looks_at_the_same_loss(
    tiny_causal_base: Path, tmp_path: Path
) -> None:
    """The teacher says something else than the outcomes, and with weight 1 only the teacher counts."""
    from retrain.train.run import train

    rows, held = (tiny.pairs(n, seed=n, answer="please bring your {}") for n in (64, 16))
    recipe = {"task": "causal_lm", "max_length": 64, "epochs": 1, "teacher_weight": 1, "early_stopping": 9}
    path = config(tmp_path, tiny_causal_base, rows, held, **recipe, learning_rate=1e-6)
    train(path)
    record = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    assert record["teacher"]["rows_taught"] == 64
    assert record["teacher"]["base_digest"] == folder_digest(tiny_causal_base)
    assert sum(record["learned"]["learned"]) > 0
    # A student that starts as its own teacher has nothing to learn from it, whatever the outcomes say.
    assert max(record["loss"]) < 1e-2
    assert not (tmp_path / "out" / "checkpoints").exists()
