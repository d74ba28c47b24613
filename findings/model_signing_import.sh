#!/usr/bin/env bash
# model-signing 1.1.1: installed by itself, it cannot be imported.
#
# `pip install model-signing` resolves without a complaint. `import model_signing` then fails, because the package
# imports `OpenSSL` for signing with certificates, and pyOpenSSL is not among its requirements: it used to come with
# sigstore, which dropped it. Expected: a package that is installed with everything it asks for can be imported. Seen on
# 2026-11-28 with Python 3.11, sigstore 4.5.1. It matters to whoever pins the program in a pipeline that verifies models:
# the step breaks on the day sigstore is updated, before it has looked at a signature. Remedy: install pyopenssl beside
# it. Output:
#     requires: asn1crypto, blake3, click, cryptography, in-toto-attestation, sigstore, sigstore-models, typing-extensions
#     import: ModuleNotFoundError: No module named 'OpenSSL' | with pyopenssl: imported
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install -q --disable-pip-version-check "$@"; }
pip 'model-signing==1.1.1' 'sigstore==4.5.1'
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import requires

named = sorted({line.split(";")[0].split(">")[0].strip() for line in requires("model-signing") if "extra" not in line})
print("requires:", ", ".join(named))
assert "pyopenssl" not in [name.lower() for name in named], "the behaviour has changed: it asks for pyOpenSSL"
PYTHON
said=$("$folder/venv/bin/python" -c 'import model_signing' 2>&1 | tail -1 || true)
pip 'pyopenssl==26.4.0'
"$folder/venv/bin/python" -c 'import model_signing'
echo "import: $said | with pyopenssl: imported"
[[ $said == "ModuleNotFoundError: No module named 'OpenSSL'" ]] || { echo "the behaviour has changed"; exit 1; }
echo "as stated"
