from pathlib import Path

import pytest

from retrain.train.errors import UnsafeWeightsError, WeightsNotFoundError
from retrain.train.weights import check_adapter, check_base, file_digest, folder_digest


def folder(path: Path, *names: str) -> Path:
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).write_bytes(b"x")
    return path


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "model.ckpt"])
def test_a_base_with_pickled_weights_only_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeWeightsError, match=rf"base_dir: .* only pickled weights \({name}\).*safetensors"):
        check_base(folder(tmp_path, "config.json", "tokenizer.json", name))


def test_a_base_with_safetensors_beside_pickles_is_accepted(tmp_path: Path) -> None:
    check_base(folder(tmp_path, "config.json", "tokenizer.json", "pytorch_model.bin", "model.safetensors"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model-00001-of-00002.safetensors", r"neither model\.safetensors nor model\.safetensors\.index\.json"),
        ("model.fp16.safetensors", r"neither model\.safetensors nor"),
    ],
)
def test_parts_of_a_base_without_an_index_are_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(WeightsNotFoundError, match=words):
        check_base(folder(tmp_path, "config.json", "tokenizer.json", name))


def test_an_adapter_beside_a_pickled_base_makes_it_no_safe_one(tmp_path: Path) -> None:
    with pytest.raises(UnsafeWeightsError, match=r"pytorch_model\.bin"):
        check_base(folder(tmp_path, "config.json", "tokenizer.json", "pytorch_model.bin", "adapter_model.safetensors"))


def test_a_missing_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"base_dir: .*none is not a folder"):
        check_base(tmp_path / "none")


@pytest.mark.parametrize("left_out", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_incomplete_base_is_refused_by_the_file_it_lacks(tmp_path: Path, left_out: str) -> None:
    names = {"model.safetensors", "config.json", "tokenizer.json"} - {left_out}
    with pytest.raises(WeightsNotFoundError, match=left_out):
        check_base(folder(tmp_path, *names))


def test_an_adapter_must_be_safetensors(tmp_path: Path) -> None:
    with pytest.raises(UnsafeWeightsError, match=r"adapter_model\.bin"):
        check_adapter(folder(tmp_path / "a", "adapter_config.json", "adapter_model.bin"))
    with pytest.raises(WeightsNotFoundError, match="adapter_config"):
        check_adapter(folder(tmp_path / "b", "adapter_model.safetensors"))


def test_the_folder_digest_follows_names_and_bytes(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "1", "a", "b"), folder(tmp_path / "2", "a", "b")
    assert folder_digest(one) == folder_digest(two)
    (two / "b").write_bytes(b"y")
    assert folder_digest(one) != folder_digest(two)
    assert file_digest(one / "a") == "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
