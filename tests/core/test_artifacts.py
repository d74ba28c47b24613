"""Content-addressed files: what is read is what was written, or an error."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core.artifacts import ArtifactStore, file_digest, folder_digest, make_folder, write_durably
from core.errors import IntegrityFailureError, NotFoundError
from tests.service import environment


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    (folder / "deep").mkdir(parents=True)
    (folder / "adapter.safetensors").write_bytes(os.urandom(5000))
    (folder / "deep" / "config.json").write_text("{}")
    return folder


def names(store: ArtifactStore) -> list[str]:
    return sorted(p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if p.is_file())


def test_the_digest_is_the_sha256_of_the_bytes(store: ArtifactStore) -> None:
    assert store.put(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


def test_bytes_come_back_as_they_were_put(store: ArtifactStore) -> None:
    assert store.get(store.put(b"content")) == b"content"


def test_the_same_content_is_kept_once(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert store.put(b"content") == store.put(b"content") == store.put_file(tmp_path / "file")
    assert len(names(store)) == 1


def test_a_large_file_is_copied_without_reading_it_whole(store: ArtifactStore, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(3 * (1 << 20) + 17))
    digest = store.put_file(path)
    assert digest == file_digest(path) == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert store.get(digest) == path.read_bytes()


def test_bytes_changed_on_disk_are_never_returned(store: ArtifactStore) -> None:
    digest = store.put(b"content")
    store.path(digest).write_bytes(b"c0ntent")
    with pytest.raises(IntegrityFailureError, match=digest):
        store.get(digest)


@pytest.mark.parametrize(
    "digest", ["sha256:" + "0" * 64, "", "sha256:", "sha256:../../etc/passwd", "../secret", "sha256:" + "A" * 64]
)
def test_an_unknown_or_malformed_digest_is_not_found(store: ArtifactStore, digest: str) -> None:
    (store.root.parent / "secret").write_text("not an artifact")
    with pytest.raises(NotFoundError):
        store.get(digest)


def test_a_folder_comes_back_file_by_file(store: ArtifactStore, adapter: Path) -> None:
    digest = store.put_folder(adapter)
    assert digest == folder_digest(adapter)
    kept = store.check_folder(digest)
    assert (kept / "deep" / "config.json").read_text() == "{}"
    assert store.put_folder(adapter) == digest
    assert len(names(store)) == 2


@pytest.mark.parametrize("change", ["flip", "add", "remove", "rename"])
def test_a_change_in_a_folder_is_noticed(store: ArtifactStore, adapter: Path, change: str) -> None:
    digest = store.put_folder(adapter)
    file = store.path(digest) / "deep" / "config.json"
    if change == "flip":
        file.write_text("{ }")
    elif change == "add":
        (file.parent / "more.json").write_text("{}")
    elif change == "remove":
        file.unlink()
    else:
        file.rename(file.with_name("other.json"))
    with pytest.raises(IntegrityFailureError, match=digest):
        store.check_folder(digest)


def test_folders_with_swapped_contents_differ(tmp_path: Path) -> None:
    for name, (a, b) in {"x": ("1", "2"), "y": ("2", "1")}.items():
        make_folder(tmp_path / name)
        (tmp_path / name / "a").write_text(a)
        (tmp_path / name / "b").write_text(b)
    assert folder_digest(tmp_path / "x") != folder_digest(tmp_path / "y")


def test_several_threads_may_store_the_same_folder_at_once(store: ArtifactStore, adapter: Path) -> None:
    digests: list[str] = []
    start = threading.Barrier(4)

    def put() -> None:
        start.wait()
        digests.append(store.put_folder(adapter))

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [folder_digest(adapter)] * 4
    assert [p.name for p in store.root.glob(".new-*")] == []
    store.check_folder(digests[0])


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_durably(path, b"old")
    with pytest.raises(TypeError):
        write_durably(path, "not bytes")  # type: ignore[arg-type]  # the failure in the middle
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_a_file_has_the_mode_it_was_asked_to_have(tmp_path: Path) -> None:
    write_durably(tmp_path / "secret", b"key", mode=0o600)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_a_process_killed_while_storing_never_shows_half_an_artifact(store: ArtifactStore, tmp_path: Path) -> None:
    """A child stores new content over and over and is killed; every artifact that is visible is whole."""
    code = (
        "import os, sys; from pathlib import Path; from core.artifacts import ArtifactStore\n"
        "store, folder = ArtifactStore(Path(sys.argv[1])), Path(sys.argv[2]); folder.mkdir()\n"
        "while True:\n"
        "    store.put(os.urandom(1 << 18))\n"
        "    for i in range(4): (folder / str(i)).write_bytes(os.urandom(1 << 16))\n"
        "    store.put_folder(folder); print(flush=True)\n"
    )
    for delay in (0.0, 0.013, 0.029):
        arguments = [sys.executable, "-c", code, str(store.root), str(tmp_path / f"source{delay}")]
        with subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()  # one round is complete
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
    visible = [p for p in store.root.glob("??/*") if not p.name.startswith(".new-")]
    assert len(visible) >= 6
    for place in visible:
        digest = f"sha256:{place.name}"
        if place.is_dir():
            store.check_folder(digest)
        else:
            store.get(digest)


def test_what_a_killed_process_had_begun_to_store_is_removed_once_it_is_old(store: ArtifactStore) -> None:
    kept = store.put(b"whole")
    for place in (store.root / ".new-folder" / "deep", store.root / "ab" / ".new-file", store.root / ".new-young"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"half")
    now = time.monotonic()  # any time will do
    for name, age in ((".new-folder", 100), ("ab/.new-file", 100), (".new-young", 0), (store._place(kept), 100)):
        os.utime(store.root / name, (now - age, now - age))
    assert store.drop_unfinished(now - 50) == 2
    assert names(store) == sorted([".new-young", store._place(kept).relative_to(store.root).as_posix()])
