"""`make demo` as its user runs it: the whole loop in real processes, and the proof it leaves behind."""

import contextlib
import json
import threading
from pathlib import Path

import psutil
import pytest

from tests.service import assay, assay_afresh


@pytest.mark.demo
@pytest.mark.timeout(3600)  # only for what hangs
def test_the_demo_closes_the_loop_and_leaves_a_bundle_that_verifies(tmp_path: Path) -> None:
    done = assay_afresh("demo", "--folder", str(tmp_path / "demo"), "--json", timeout_s=3500)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout)
    assert facts["champion"] == "v2"
    assert facts["first_alarm_window"] == 6  # of six quiet ones, 0 to 5, none alarmed
    assert {"wallet", "virtual", "crypto", "carbon", "instalment"} & set(facts["drift_words"])
    assert facts["recovered"] >= 0.65
    assert facts["old_points"] <= 0.04
    vkey = (Path(facts["home"]) / "keys" / "ledger.vkey").read_text().strip()
    bundle = Path(facts["files"]["zip"])
    assert assay("verify", str(bundle), "--key", vkey).returncode == 0
    assert assay("verify", "--home", facts["home"]).returncode == 0
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    changed = assay("verify", str(bundle), "--key", vkey)
    assert changed.returncode == 1
    assert "Traceback" not in changed.stderr


SLOWED = ("retrain.train.run", "retrain.evals.explain")


def _slow_down(folder: Path, over: threading.Event) -> None:
    """Let the training and explaining processes of a demo run for a fifth of the time."""
    while not over.is_set():
        found = [p for p in psutil.process_iter() if (words := " ".join(_command(p))) and str(folder) in words
                 and any(module in words for module in SLOWED)]  # fmt: skip
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.suspend()
        over.wait(0.4)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.resume()
        over.wait(0.1)


def _command(process: psutil.Process) -> list[str]:
    try:
        return [str(word) for word in process.cmdline()]
    except psutil.Error:
        return []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_demo_closes_with_its_training_slowed_down_five_times(tmp_path: Path) -> None:
    over = threading.Event()
    slow = threading.Thread(target=_slow_down, args=(tmp_path, over))
    slow.start()
    try:
        done = assay_afresh("demo", "--folder", str(tmp_path / "demo"), "--json", timeout_s=3500)
    finally:
        over.set()
        slow.join()
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_second_run_gets_its_own_folder_and_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "run-001").mkdir()
    table = tmp_path / "messages.csv"
    table.write_text("text,category\n" + "".join(f"hello {i},{'ab'[i % 2]}\n" for i in range(40)))
    done = assay("demo", "--folder", str(tmp_path), "--train", str(table), "--test", str(table))
    assert done.returncode == 1
    assert "more rows" in done.stderr
    assert (tmp_path / "run-002").is_dir()
    alone = assay("demo", "--folder", str(tmp_path), "--train", str(table))
    assert alone.returncode == 2
    assert "--train and --test belong together" in alone.stderr
    absent = assay("demo", "--folder", str(tmp_path), "--train", str(tmp_path / "no.csv"), "--test", str(table))
    assert absent.returncode == 2
    assert "no.csv" in absent.stderr
