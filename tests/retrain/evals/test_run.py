"""The comparison process, end to end on tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from retrain.train.progress import report_exit
from retrain.train.weights import file_digest
from tests.retrain.train import tiny

ALL = (*tiny.OLD, *tiny.NEW)


def config(folder: Path, base: Path, adapter: Path, **more: Any) -> Path:
    new = (
        tiny.messages(ALL, 60, seed=5).with_row_index("row_id").with_columns(pl.format("e{}", "row_id").alias("row_id"))
    )
    return tiny.written(
        folder / "eval.json",
        {
            "run_id": "run-1",
            "task": "sequence_classification",
            "champion": {"base_dir": str(base)},
            "challenger": {"base_dir": str(base), "adapter_dir": str(adapter)},
            "new": tiny.dataset(new, folder / "new.parquet"),
            "old": tiny.dataset(tiny.messages(tiny.OLD, 40, seed=6), folder / "old.parquet"),
            "output_dir": str(folder / "out"),
            "progress": str(folder / "progress.jsonl"),
            "device": "cpu",
        }
        | more,
    )


def test_champion_and_challenger_answer_the_same_rows(tiny_base: Path, trained: Path, tmp_path: Path) -> None:
    from retrain.evals.run import evaluate

    path = config(tmp_path, tiny_base, trained / "out" / "adapter")
    assert report_exit(path, evaluate) == 0
    assert tiny.read(tmp_path / "out" / "exit.json")["state"] == "succeeded"
    result = tiny.read(tmp_path / "out" / "evaluation.json")
    rows = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert result["digests"]["predictions"] == file_digest(tmp_path / "out" / "predictions.parquet")
    assert result["rows"] == {"new": 60, "old": 40}
    assert rows.columns == [
        "rows", "row_id", "label", "champion", "champion_confidence", "challenger", "challenger_confidence",
    ]  # fmt: skip
    assert rows["row_id"].to_list() == [f"e{i}" for i in range(60)] + [str(i) for i in range(40)]
    found = {(e["model"], e["rows"], e["name"]): e for e in result["evaluations"]}
    assert len(found) == len(result["evaluations"]) == 8
    for side in ("champion", "challenger"):
        for name in ("new", "old"):
            part = rows.filter(pl.col("rows") == name)
            entry = found[side, name, "accuracy"]
            assert entry["value"] == pytest.approx((part[side] == part["label"]).mean())
            assert entry["low"] < entry["value"] <= entry["high"]
    gap = next(d for d in result["differences"] if (d["rows"], d["name"]) == ("new", "accuracy"))
    assert gap["value"] > 0
    assert gap["low"] > 0  # the champion has never heard of the new intents
    assert {line["phase"] for line in tiny.progress(tmp_path / "progress.jsonl")} == {"load", "evaluate", "done"}


def test_the_probe_measures_what_the_adapter_does(tiny_base: Path, trained: Path, tmp_path: Path) -> None:
    from retrain.evals.run import evaluate

    evaluate(config(tmp_path, tiny_base, trained / "out" / "adapter"))
    integrity = tiny.read(tmp_path / "out" / "evaluation.json")["integrity"]
    probe, facts = integrity["probe"], integrity["adapters"]["challenger"]
    assert integrity["adapters"]["champion"] is None
    assert probe["champion_adapter_on_off"] is None
    assert probe["challenger_adapter_on_off"] > 0.1
    # The champion is the base without adapter: both comparisons are of the same two models.
    assert probe["champion_challenger"] == pytest.approx(probe["challenger_adapter_on_off"], rel=1e-3)
    assert probe["shared_labels"] == 4
    assert facts["all_finite"]
    assert facts["updates"] == 14
    assert facts["zero_updates"] == 0
    assert facts["delta_norm"] > 0


def test_an_adapter_that_does_nothing_or_is_not_finite_is_seen(trained: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from retrain.evals.integrity import adapter_facts

    adapter = trained / "out" / "adapter"
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((adapter / name).read_bytes())
    weights = load_file(adapter / "adapter_model.safetensors")
    nil = {name: w * 0 if "lora_B" in name else w for name, w in weights.items()}
    save_file(nil, tmp_path / "adapter_model.safetensors")
    assert (adapter_facts(tmp_path).delta_norm, adapter_facts(tmp_path).zero_updates) == (0, 14)
    name = next(n for n in weights if "lora_A" in n)
    weights[name][0, 0] = float("inf")
    save_file(weights, tmp_path / "adapter_model.safetensors")
    assert not adapter_facts(tmp_path).all_finite
    assert adapter_facts(tmp_path).delta_norm is None


def test_language_models_are_compared_by_perplexity(tiny_causal_base: Path, tmp_path: Path) -> None:
    from retrain.evals.run import evaluate

    held_out = tiny.dataset(tiny.pairs(12, seed=7), tmp_path / "pairs.parquet")
    same = {"base_dir": str(tiny_causal_base)}
    path = config(tmp_path, tiny_causal_base, tmp_path, task="causal_lm", challenger=same, new=held_out, old=None)
    evaluate(path)
    result = tiny.read(tmp_path / "out" / "evaluation.json")
    one, two = result["evaluations"]
    assert one["value"] == two["value"] > 1
    assert [d["value"] for d in result["differences"]] == [0]
    rows = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert np.exp(-rows["champion_logprob"].to_numpy().sum() / rows["tokens"].to_numpy().sum()) == pytest.approx(
        one["value"], rel=1e-5
    )


def test_golden_rows_changed_texts_and_times_are_asked_of_both_models(
    tiny_base: Path, trained: Path, tmp_path: Path
) -> None:
    from retrain.evals.run import evaluate

    rows = tiny.messages(ALL, 12, seed=9).with_row_index("row_id")
    golden = tiny.dataset(rows.with_columns(pl.format("core:{}", "row_id").alias("row_id")), tmp_path / "g.parquet")
    path = config(tmp_path, tiny_base, trained / "out" / "adapter", golden=golden, probes=["robustness", "latency"])
    evaluate(path)
    result = tiny.read(tmp_path / "out" / "evaluation.json")
    assert [row["row_id"] for row in result["golden"]] == [f"core:{i}" for i in range(12)]
    right = [row["challenger"] == row["expected"] for row in result["golden"]]
    assert sum(right) > sum(row["champion"] == row["expected"] for row in result["golden"])  # it knows two more intents
    kinds = {"typos", "case", "spaces", "phrase"}
    assert {side: set(found) for side, found in result["robustness"].items()} == dict.fromkeys(
        ("champion", "challenger"), kinds
    )
    kept = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    new = kept.filter(pl.col("rows") == "new")["challenger_changed"]
    assert new.mean() == pytest.approx(np.mean(list(result["robustness"]["challenger"].values())))
    assert kept.filter(pl.col("rows") == "old")["challenger_changed"].null_count() == 40
    assert all(len(times) == 60 and min(times) > 0 for times in result["times_ms"].values())


def test_a_base_without_a_usable_head_is_compared_by_the_most_frequent_label(
    tiny_base: Path, tiny_causal_base: Path, trained: Path, tmp_path: Path
) -> None:
    from retrain.evals.run import evaluate

    champion = {"base_dir": str(tiny_causal_base), "headless": True}
    evaluate(config(tmp_path, tiny_base, trained / "out" / "adapter", champion=champion))
    rows = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    probe = tiny.read(tmp_path / "out" / "evaluation.json")["integrity"]["probe"]
    for name in ("new", "old"):
        part = rows.filter(pl.col("rows") == name)
        counts = part["label"].value_counts().sort("count", descending=True)
        assert part["champion"].n_unique() == 1
        assert (part["champion"] == part["label"]).sum() == counts["count"][0]
    assert set(probe["labels"]["champion"]) <= set(ALL)
    assert "no usable head" in probe["champion_baseline"]


def test_a_language_model_answers_golden_prompts_and_safety_probes(tiny_causal_base: Path, tmp_path: Path) -> None:
    from retrain.evals.run import evaluate

    rows = tiny.pairs(4, seed=3).with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.String))
    same = {"base_dir": str(tiny_causal_base)}
    more = {
        "new": tiny.dataset(tiny.pairs(12, seed=7), tmp_path / "pairs.parquet"), "old": None, "challenger": same,
        "golden": tiny.dataset(rows, tmp_path / "golden.parquet"), "safety_prompts": ["tell me the code"],
        "probes": ["latency", "robustness"],
    }  # fmt: skip
    evaluate(config(tmp_path, tiny_causal_base, tmp_path, task="causal_lm", **more))
    result = tiny.read(tmp_path / "out" / "evaluation.json")
    assert [row["champion"] == row["challenger"] for row in result["golden"]] == [True] * 4
    assert [(p["prompt"], p["champion"] == p["challenger"]) for p in result["safety"]] == [("tell me the code", True)]
    assert len(result["times_ms"]["champion"]) == 12
    assert "robustness" not in result


def test_models_that_are_asked_in_two_formats_are_compared_on_the_same_answers(
    tiny_causal_base: Path, tmp_path: Path
) -> None:
    import shutil

    from retrain.evals.run import evaluate

    chat = tmp_path / "chat"
    shutil.copytree(tiny_causal_base, chat)
    (chat / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' now' + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
    )
    rows = pl.concat([tiny.pairs(7, seed=7), pl.DataFrame({"prompt": ["[]"], "completion": ["yes"]})])
    held_out, models = tiny.dataset(rows, tmp_path / "pairs.parquet"), {"base_dir": str(tiny_causal_base)}
    more = {"champion": models, "challenger": {"base_dir": str(chat)}, "chat": {"template": "auto"}, "writes": True}
    evaluate(config(tmp_path, tiny_causal_base, tmp_path, task="causal_lm", new=held_out, old=None, **more))
    result = tiny.read(tmp_path / "out" / "evaluation.json")
    differences = {d["name"]: d for d in result["differences"]}
    assert differences["perplexity"]["value"] is None
    assert "differ in format" in differences["perplexity"]["reason"]
    kept = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert kept["challenger_tokens"].to_list()[-1] == 0  # its template takes no empty conversation
    assert kept["challenger_exact_match"].to_list()[-1] == 0
    assert kept["champion_exact_match"].sum() > 0
    assert differences["exact_match"]["n"] == 8
    assert differences["exact_match"]["low"] <= differences["exact_match"]["value"] <= 0
