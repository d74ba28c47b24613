#!/usr/bin/env bash
# license-expression 30.4.4: a reference of one's own is taken for a listed licence.
#
# In an SPDX expression `LicenseRef-` and a name stands for a licence that is in no list; what it means is said in the
# same document. `get_spdx_licensing()` knows some such names from another catalogue as other words for listed licences,
# and `validate` and `parse` replace them. Expected: the reference is kept, or called unknown as every other one is. Seen
# on 2026-11-28 with Python 3.11: `LicenseRef-MIT-TC` becomes MIT and `LicenseRef-Apache` becomes Apache-2.0, without a
# word. It matters where a licence decides what may be used: terms that somebody wrote for their own data pass a list of
# allowed licences as MIT. Output:
#     LicenseRef-MIT-TC -> MIT, errors []
#     LicenseRef-Apache -> Apache-2.0, errors []
#     LicenseRef-own -> None, errors ['Unknown license key(s): LicenseRef-own']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'license-expression==30.4.4'
"$folder/venv/bin/python" - <<'PYTHON'
from license_expression import get_spdx_licensing

licensing = get_spdx_licensing()
seen = {}
for name in ("LicenseRef-MIT-TC", "LicenseRef-Apache", "LicenseRef-own"):
    info = licensing.validate(name)
    seen[name] = info.normalized_expression
    print(f"{name} -> {info.normalized_expression}, errors {info.errors}")
expected = {"LicenseRef-MIT-TC": "MIT", "LicenseRef-Apache": "Apache-2.0", "LicenseRef-own": None}
assert seen == expected, "the behaviour has changed"
print("as stated")
PYTHON
