"""Packages for a machine with a card and no network, as one archive.

    python -m bench.retraining.packages packages.tar.xz --python 3.12 --cuda 130     # here, minutes; 47 MB
    mkdir site && tar xJf packages.tar.xz -C site                                     # there
    PYTHONPATH=$PWD/site python3 -m bench.retrain --cases gpu_8b --out results.jsonl

The machine has torch with CUDA, triton, accelerate, tokenizers, safetensors, pyarrow, pandas and psutil already. Of
bitsandbytes only the library of its CUDA version goes along.
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

NAMES: Final = (
    "annotated-types", "bitsandbytes", "codecarbon", "datasets", "dill", "multiprocess", "peft", "polars",
    "polars-runtime-32", "pydantic", "pydantic-core", "rapidfuzz", "rfc8785", "transformers", "trl",
    "typing-inspection",
)  # fmt: skip
PLATFORMS: Final = ("manylinux2014_x86_64", *(f"manylinux_2_{n}_x86_64" for n in (17, 24, 27, 28)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--python", default="3.12", help="version of Python there")
    parser.add_argument("--cuda", default="130", help="version of CUDA there, without the point")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wheels, site = Path(name) / "wheels", Path(name) / "site"
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", wheels,
             "--python-version", given.python, "--implementation", "cp",
             *(word for tag in PLATFORMS for word in ("--platform", tag)), *(f"{n}=={version(n)}" for n in NAMES)],
            check=True,
        )  # fmt: skip
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(site)
        for library in (site / "bitsandbytes").glob("libbitsandbytes_*.so"):
            if library.name not in (f"libbitsandbytes_cuda{given.cuda}.so", "libbitsandbytes_cpu.so"):
                library.unlink()
        with tarfile.open(given.out, "w:xz") as archive:
            for path in sorted(site.iterdir()):
                archive.add(path, path.name)
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
