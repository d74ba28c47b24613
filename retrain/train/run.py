"""`python -m retrain.train.run CONFIG.json`: one run from start to end, in its own process.

Written under `output_dir`: `adapter/` when the run is whole (renamed into place at the end), `checkpoints/` while it
is not, and `exit.json`. Started again with the same config, a killed run continues from its last whole checkpoint.
The checkpoints are the trainer's own (optimiser state in torch's format, read back with `weights_only`); they never
leave the folder and are removed at the end. What is kept is safetensors and JSON.
"""

import json
import platform
import resource
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl
import torch
import transformers
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, Trainer

from core.canonical import digest
from retrain.train.adapter import Trained, attach_adapter, check_parent
from retrain.train.base_model import compute_dtype, load_base, load_tokenizer, pick_device, quiet
from retrain.train.config import VIRTUAL, Recipe, RunConfig
from retrain.train.config_file import load_config
from retrain.train.counts import check_cut
from retrain.train.data import read_rows
from retrain.train.energy import Meter
from retrain.train.errors import ConfigFileError, ParametersLimitError, ResumeConflictError
from retrain.train.head import head_of
from retrain.train.kinds import KINDS
from retrain.train.merge import merge
from retrain.train.output import finished, versions
from retrain.train.progress import Progress, report_exit, write_json
from retrain.train.shape import adapter_part, is_whole
from retrain.train.speed.cards import check_shared, checkpoints_of, processes, run_on_cards, see_one_card, wants_others
from retrain.train.speed.packing import packed_rows
from retrain.train.speed.prepare import finish, prepare
from retrain.train.speed.training import first_micro_batch, train_fitting
from retrain.train.starts import chosen_rows, drop_starts, judged, only_start, train_best, trains_both
from retrain.train.tasks import training_of
from retrain.train.tasks.base import Attempt, Examples, Setting, Training
from retrain.train.trainers import validation_rows
from retrain.train.watch import Watch, last_checkpoint, learned_until
from retrain.train.weights import check_adapter, check_base, folder_digest

LIBRARIES: Final = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "safetensors")


def main(path: Path) -> int:
    """The run, or on several cards a process for each. Returns the exit code."""
    try:
        config = load_config(path, RunConfig)
    except ConfigFileError:  # reported as every other error of a run
        return report_exit(path, train)
    if wants_others(config):
        return run_on_cards(config)
    see_one_card()
    return report_exit(path, train)


def train(path: Path) -> None:
    """One run: load, check digests, seed, quantise, adapt, train, evaluate, save."""
    config = load_config(path, RunConfig)
    check_shared(config)
    progress = Progress(config.progress)
    if not finished(config):
        with Meter(config.output_dir, config.country, cards=processes(config), keeps=not config.card) as meter:
            if trains_both(config):
                train_best(config, _train, progress, meter)
            else:
                _train(config, progress, meter)
    drop_starts(config)
    progress.write("done", eta_s=0.0)


def _train(config: RunConfig, progress: Progress, meter: Meter) -> None:
    recipe = config.recipe
    progress.write("load")
    check_base(config.base_dir)
    base_digest = folder_digest(config.base_dir)
    if not config.card:
        _open_checkpoints(config, base_digest)
    if config.parent_adapter is not None:
        check_adapter(config.parent_adapter, "parent_adapter")
        check_parent(config.parent_adapter, recipe, base_digest)
    columns, training = KINDS[recipe.task].columns, training_of(recipe)
    train_rows = read_rows(config.train, "train", columns)
    eval_rows = read_rows(config.eval, "eval", columns)

    device = pick_device(config.device, config.card or 0)
    torch.set_num_threads(config.threads)
    setting = Setting(config, load_tokenizer(config.base_dir), device)
    facts: dict[str, Any] = {"rows_train": train_rows.height, "rows_eval": eval_rows.height}
    checkpoints = checkpoints_of(config)
    watch = Watch(progress, config.max_seconds, config.max_kwh, meter)
    for name, rows in (("train", train_rows), ("eval", eval_rows)):
        training.check(setting, rows, name)
    held_out = _held_out(config, eval_rows, columns)
    counts = {name: training.counts(setting, rows) for name, rows in held_out.items()}
    examples, validation = _examples(setting, training, train_rows)
    counts["train"] = examples.counts
    check_cut(counts, recipe.max_length, config.max_cut_share)
    if training.teach is not None and config.teacher is not None:
        lessons = training.teach(setting, train_rows, examples, _lessons_folder(config), watch.asked)
        examples, facts["teacher"] = replace(examples, lessons=lessons), lessons.facts
    transformers.set_seed(recipe.seed)  # before the head and the adapter are made
    parent, architecture = config.parent_adapter, KINDS[recipe.task].architecture
    parent = None if parent is None else adapter_part(parent)
    model = load_base(
        parent if parent is not None and is_whole(parent) else config.base_dir, architecture, config.labels, device,
        quantise=recipe.method == "qlora", pad=setting.tokenizer.pad_token_id,
    )  # fmt: skip
    head = head_of(model.config, config.base_dir) if architecture == "sequence_classification" else None
    facts |= {**examples.facts, **training.before(setting, model, examples)}
    if validation is None:
        kept, watched = validation_rows(examples.rows, recipe)
        examples = replace(examples, rows=kept, watched=watched)
    facts["rows_validation"] = len(examples.watched)
    peft_model = attach_adapter(model, recipe, parent, head)
    facts["trainable_parameters"] = _trained_parameters(peft_model, config.max_parameters)
    facts |= training.after(setting, peft_model, examples)
    lengths = [len(row["input_ids"]) for row in examples.rows]
    possible = training.packs and config.teacher is None and recipe.method not in VIRTUAL
    packed, why = packed_rows(recipe.packing, peft_model, device, possible=possible)
    start, cards = recipe, processes(config)
    if device.type == "cuda" or packed:
        start = first_micro_batch(recipe, lengths, packed=packed, cards=cards)
    prepared = prepare(
        peft_model, config.base_dir, profile=recipe.speed, device=device, tokens=start.batch_size * recipe.max_length,
        rank=recipe.r, packed=packed, memory_gib=recipe.memory_gib, total_tokens=recipe.epochs * sum(lengths),
        method=recipe.method,
    )  # fmt: skip

    prepared.reasons.extend([why] if why else [])

    def build(fitted: Recipe) -> Trainer:
        attempt = Attempt(fitted, checkpoints, [watch], prepared.plan.optimiser, packed)
        return training.build(setting, peft_model, examples, attempt)

    def resume() -> Path | None:
        found = last_checkpoint(checkpoints)
        watch.learned.resume(learned_until(found))
        return found

    with quiet():
        trainer = train_fitting(build, start, prepared, resume, cards=cards)
    finish(peft_model, prepared)
    facts["speed"] = prepared.record()
    if config.card:  # the first of a run's processes keeps what all of them trained
        return

    progress.write("evaluate")
    metrics = training.score(setting, peft_model, eval_rows)
    if validation is not None:
        facts["validation"] = judged(setting, peft_model, validation)
    elif (only := only_start(config)) is not None:
        facts["starts"] = {"chosen": only[0], "reason": only[1]}

    progress.write("save")
    partial = _saved(peft_model, setting.tokenizer, config)
    facts["adapter_bytes"] = sum(file.stat().st_size for file in partial.glob("*.safetensors"))
    facts |= {"rows_dropped": counts["train"].rows_dropped, "counts": {k: c.record() for k, c in counts.items()}}
    if recipe.serve == "merged" and config.phase is None:
        facts["merged"] = merge(partial, config, on_card=device.type == "cuda")
    write_json(partial / "run.json", _record(config, base_digest, trainer, metrics, facts, watch, meter, device))
    partial.rename(config.output_dir / "adapter")
    shutil.rmtree(checkpoints, ignore_errors=True)


def _lessons_folder(config: RunConfig) -> Path:
    """Where the teacher's answers lie: each of several processes asks for its own."""
    name = "teacher" if config.card is None else f"teacher-{config.card}"
    return checkpoints_of(config) / name


def _examples(setting: Setting, training: Training, rows: pl.DataFrame) -> tuple[Examples, pl.DataFrame | None]:
    """Examples of the training rows; of one of two starts those to train on, and the rows that choose between them."""
    made, config = training.examples(setting, rows), setting.config
    if config.phase is None:
        return made, None
    kept, validation = chosen_rows(rows, config.rehearsed or 0, config.recipe)
    mine, watched = (training.examples(setting, part).rows for part in (kept, validation))
    return replace(made, rows=mine, watched=watched), validation


def _saved(model: Trained, tokenizer: PreTrainedTokenizerBase, config: RunConfig) -> Path:
    """A folder next to `adapter` with all but the record; renamed there at the end, so `adapter` is always whole."""
    partial = config.output_dir / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    with quiet():
        if isinstance(model, PeftModel):  # of a table of words only what the adapter changes, and not the base's own
            model.save_pretrained(str(partial), safe_serialization=True, save_embedding_layers=False)
        else:
            model.save_pretrained(str(partial), safe_serialization=True)
    (partial / "README.md").unlink(missing_ok=True)  # an empty template of the library; run.json is the card
    tokenizer.save_pretrained(partial)
    if isinstance(model, PeftModel):
        saved = json.loads((partial / "adapter_config.json").read_text(encoding="utf-8"))
        # The library writes where the base lay here and now.
        saved["base_model_name_or_path"] = config.recipe.base_model
        write_json(partial / "adapter_config.json", saved)
    write_json(partial / "labels.json", list(config.labels))
    return partial


def _open_checkpoints(config: RunConfig, base_digest: str) -> None:
    """Mark the folder of checkpoints as this run's; refuses those of another config or base."""
    folder = config.output_dir / "checkpoints"
    mark = folder / "config.json"
    ours = {"config": config.digest(), "base": base_digest}
    if mark.is_file():
        found = json.loads(mark.read_text(encoding="utf-8"))
        if different := [name for name in ours if ours[name] != found[name]]:
            raise ResumeConflictError(
                f"output_dir: {config.output_dir} holds checkpoints of another {' and '.join(different)} ({found}); "
                "restore that to resume, or use an empty folder",
                field="output_dir",
            )
    else:
        write_json(mark, ours)


def _trained_parameters(model: Trained, most: int | None) -> int:
    """How many numbers are trained. Raises ParametersLimitError if more than `most`."""
    found = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if most is not None and found > most:
        words = f"{found} parameters are trained, max_adapter_parameters is {most}; lower recipe.r"
        raise ParametersLimitError(words, limit="max_adapter_parameters", declared=most, measured=found)
    return found


def _held_out(config: RunConfig, eval_rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The rows that judge the run, by set; what the longest text leaves of them is counted before training."""
    if config.holdout is None:
        return {"eval": eval_rows}
    return {"eval": eval_rows, "holdout": read_rows(config.holdout, "holdout", columns)}


def _record(
    config: RunConfig,
    base_digest: str,
    trainer: Trainer,
    metrics: list[dict[str, Any]],
    facts: dict[str, Any],
    watch: Watch,
    meter: Meter,
    device: torch.device,
) -> dict[str, Any]:
    """The card of the run: everything needed to judge it and to repeat it."""
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    dump = config.record()
    used = meter.keep(watch.elapsed_s)
    return {
        "run_id": config.run_id,
        "config": dump,
        "digests": {
            "config": config.digest(),
            "recipe": digest(dump["recipe"]),
            "base": base_digest,
            "train": config.train.sha256,
            "eval": config.eval.sha256,
        },
        "seed": config.recipe.seed,
        "quantisation": (
            {"type": "nf4", "double": True, "compute_dtype": str(compute_dtype(device))}
            if config.recipe.method == "qlora"
            else None
        ),
        **facts,
        "learned": watch.learned.record(),
        "steps": trainer.state.global_step,
        "metrics": metrics,
        "loss": [entry["loss"] for entry in history],
        "grad_norm": [entry["grad_norm"] for entry in history],
        "memory": watch.memory.record(),
        "train_seconds": watch.elapsed_s,
        "wall_seconds": used.seconds / processes(config),
        "used": used.record(),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": config.threads,
        "libraries": {"python": platform.python_version()} | versions(LIBRARIES),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m retrain.train.run CONFIG.json")
    sys.exit(main(Path(sys.argv[1])))
