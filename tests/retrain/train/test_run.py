"""Whole runs on tiny models, some of them killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from retrain.train.errors import (
    DataDigestError,
    NonFiniteLossError,
    ResumeConflictError,
    UnsafeWeightsError,
    WeightsNotFoundError,
)
from retrain.train.progress import report_exit
from tests.conftest import ROOT
from tests.retrain.train import tiny

ALL = (*tiny.OLD, *tiny.NEW)


def small(folder: Path, base: Path, **more: object) -> Path:
    return tiny.run_config(folder, base, tiny.messages(ALL, 160, seed=1), tiny.messages(ALL, 20, seed=2), **more)


def test_a_run_learns_new_labels_and_says_all_about_itself(trained: Path, tiny_base: Path) -> None:
    from safetensors.torch import load_file

    from retrain.train.model import load_classifier

    adapter = trained / "out" / "adapter"
    record = tiny.read(adapter / "run.json")
    assert record["labels_new"] == list(tiny.NEW)
    assert np.mean(record["loss"][-5:]) < np.mean(record["loss"][:5])
    assert len(record["loss"]) == len(record["grad_norm"]) == record["steps"] == 45
    assert [point["step"] for point in record["memory"]] == list(range(1, 46))
    assert all(0 < point["bytes"] <= record["peak_rss_bytes"] for point in record["memory"])
    assert record["metrics"][0]["name"] == "accuracy"
    assert record["metrics"][0]["value"] > 0.8
    assert record["seed"] == 0
    assert record["libraries"].keys() >= {"torch", "transformers", "peft", "bitsandbytes"}
    assert record["peak_rss_bytes"] > 0
    assert record["wall_seconds"] > record["train_seconds"] > 0
    assert tiny.read(adapter / "labels.json") == list(ALL)
    assert not list(adapter.glob("*.bin"))
    assert not (trained / "out" / "checkpoints").exists()
    tensors = load_file(adapter / "adapter_model.safetensors")
    assert any("score" in name for name in tensors)
    held_out = tiny.messages(ALL, 60, seed=2)
    names, shares = load_classifier(tiny_base, adapter, threads=1).predict(held_out["text"].to_list())
    assert np.mean([a == b for a, b in zip(names, held_out["label"], strict=True)]) == record["metrics"][0]["value"]
    assert ((shares > 0) & (shares <= 1)).all()


def test_the_adapter_changes_the_logits_and_can_be_switched_off(trained: Path, tiny_base: Path) -> None:
    from retrain.train.model import load_classifier

    model = load_classifier(tiny_base, trained / "out" / "adapter", threads=1)
    base = load_classifier(tiny_base, threads=1)
    texts = tiny.messages(ALL, 30)["text"].to_list()
    on = model.logits(texts)
    with model.without_adapter():
        off = model.logits(texts)
    assert np.abs(on - off).max() > 0.1
    places = [model.labels.index(name) for name in base.labels]
    np.testing.assert_allclose(off[:, places], base.logits(texts), atol=1e-5)
    np.testing.assert_allclose(model.logits(texts), on)


def test_progress_lines_tell_phase_step_and_time_left(trained: Path) -> None:
    lines = tiny.progress(trained / "progress.jsonl")
    assert [line["phase"] for line in lines if line["phase"] != "train"] == ["load", "evaluate", "save", "done"]
    steps = [line for line in lines if line["phase"] == "train"]
    assert (steps[0]["step"], steps[-1]["step"], steps[-1]["steps"]) == (1, 45, 45)
    assert steps[-1]["eta_s"] == 0
    assert all(line.keys() == {"at", "phase", "step", "steps", "epoch", "loss", "eta_s", "bytes"} for line in lines)


def test_a_champion_that_is_an_adapter_is_continued(trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    from retrain.train.run import train

    parent = trained / "out" / "adapter"
    train(small(tmp_path, tiny_base, parent_adapter=str(parent), recipe={"epochs": 1, "hide_words": 0}))
    record = tiny.read(tmp_path / "out" / "adapter" / "run.json")
    assert record["labels_new"] == []
    assert record["loss"][0] < tiny.read(parent / "run.json")["loss"][0] / 2


def test_the_same_seed_gives_the_same_adapter(tiny_base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from retrain.train.run import train

    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(small(tmp_path / name, tiny_base, recipe={"epochs": 1, "seed": seed}))
    one, two, other = (load_file(tmp_path / n / "out/adapter/adapter_model.safetensors") for n in "abc")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_run_resumes_and_ends_as_if_never_killed(tiny_base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from retrain.train.run import train

    recipe = {"epochs": 2.5, "batch_size": 40}  # 4 steps an epoch, 10 in all: the kill comes in the middle of an epoch
    train(small(tmp_path / "whole", tiny_base, recipe=recipe))
    path = small(tmp_path / "killed", tiny_base, recipe=recipe)
    out = tmp_path / "killed" / "out"
    with subprocess.Popen([sys.executable, "-m", "retrain.train.run", str(path)], cwd=ROOT) as process:
        deadline = time.monotonic() + 180
        while not (out / "checkpoints" / "checkpoint-5" / "complete.json").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (out / "adapter").exists()
    assert not (out / "exit.json").exists()
    seen = len(tiny.progress(tmp_path / "killed" / "progress.jsonl"))

    other = tiny.read(path)
    with pytest.raises(ResumeConflictError, match="checkpoints of another config"):
        train(tiny.written(tmp_path / "other.json", other | {"run_id": "other"}))
    assert report_exit(path, train) == 0

    steps = [line for line in tiny.progress(tmp_path / "killed" / "progress.jsonl")[seen:] if line["phase"] == "train"]
    assert steps[0]["step"] > 5
    whole, resumed = (tiny.read(tmp_path / name / "out/adapter/run.json") for name in ("whole", "killed"))
    assert resumed["steps"] == whole["steps"] == 10
    assert resumed["loss"] == whole["loss"]
    one, two = (load_file(tmp_path / name / "out/adapter/adapter_model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert tiny.read(out / "exit.json") == {"state": "succeeded", "code": "ok", "message": ""}

    stamp = (out / "adapter" / "run.json").stat().st_mtime_ns
    assert report_exit(path, train) == 0  # started once more, a finished run is left alone
    assert (out / "adapter" / "run.json").stat().st_mtime_ns == stamp


def test_a_loss_that_is_not_finite_stops_the_run(tiny_base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from retrain.train.run import train

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_base.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NonFiniteLossError, match=r"loss is nan at step 1 of .*learning_rate"):
        train(small(tmp_path, broken))
    assert not (tmp_path / "out" / "adapter").exists()


def test_unusable_inputs_are_refused_before_training(tiny_base: Path, tmp_path: Path) -> None:
    from retrain.train.run import train

    with pytest.raises(WeightsNotFoundError, match=r"base_dir: .*none is not a folder"):
        train(small(tmp_path / "a", tmp_path / "none"))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UnsafeWeightsError, match=r"pytorch_model\.bin"):
        train(small(tmp_path / "b", pickled))
    path = small(tmp_path / "c", tiny_base)
    pl.DataFrame({"text": ["a"], "label": ["card"]}).write_parquet(tmp_path / "c" / "train.parquet")
    with pytest.raises(DataDigestError):
        train(path)


def test_the_exit_report_tells_every_way_a_process_ends(tiny_base: Path, tmp_path: Path) -> None:
    from retrain.train.run import train

    path = small(tmp_path, tmp_path / "none")
    assert report_exit(path, train) == 2
    report = tiny.read(tmp_path / "out" / "exit.json")
    assert (report["state"], report["code"]) == ("failed", "weights_not_found")
    assert "base_dir" in report["message"]

    def bug(_: Path) -> None:
        raise RuntimeError("boom")

    assert report_exit(path, bug) == 1
    assert tiny.read(tmp_path / "out" / "exit.json")["message"] == "RuntimeError: boom"

    def stopped(_: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(5)

    assert report_exit(path, stopped) == 1
    assert tiny.read(tmp_path / "out" / "exit.json")["code"] == "terminated"
    assert report_exit(tiny.changed(path, threads="many"), train) == 2
    assert tiny.read(tmp_path / "out" / "exit.json")["code"] == "config_invalid"


def test_a_causal_run_learns_a_new_answer(tiny_causal_base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from retrain.train.model import load_generator
    from retrain.train.run import train

    answer = "your {} will come soon"
    rows, held_out = tiny.pairs(96, seed=1, answer=answer), tiny.pairs(16, seed=2, answer=answer)
    recipe = {"task": "causal_lm", "epochs": 12, "max_length": 48}
    train(tiny.run_config(tmp_path, tiny_causal_base, rows, held_out, recipe=recipe, labels=[]))
    adapter = tmp_path / "out" / "adapter"
    record = tiny.read(adapter / "run.json")
    assert record["loss"][-1] < 0.7 * record["loss"][0]
    assert record["rows_dropped"] == 0
    assert all(t.dtype == torch.float32 for t in load_file(adapter / "adapter_model.safetensors").values())
    before, after = load_generator(tiny_causal_base, threads=1), load_generator(tiny_causal_base, adapter, threads=1)
    prompts, answers = held_out["prompt"].to_list(), held_out["completion"].to_list()
    old, new = (np.concatenate(m.token_logprobs(prompts, answers)) for m in (before, after))
    assert new.mean() > old.mean() + 0.5
    assert np.exp(-new.mean(dtype=np.float64)) == pytest.approx(record["metrics"][0]["value"], rel=1e-4)
    with after.without_adapter():
        np.testing.assert_allclose(np.concatenate(after.token_logprobs(prompts, answers)), old, atol=1e-5)
    assert "your" in after.generate(prompts[:1], max_new_tokens=8)[0]
