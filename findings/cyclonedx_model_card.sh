#!/usr/bin/env bash
# cyclonedx-python-lib 11.12.0: reading and writing a valid BOM drops the model card.
#
# A CycloneDX 1.6 document with a component of type machine-learning-model carries a `modelCard` (model parameters, a
# performance metric, a fairness assessment) and passes the library's own strict validator. `Bom.from_json` reads it,
# `JsonV1Dot6` writes it. Expected: the card is kept, or the reader says that it does not know it. Seen on 2026-11-28
# with Python 3.11: no error, no warning; the component is there, its `modelCard` is gone, and the result passes the
# strict validator too. It matters for an AI bill of materials: any tool in the chain that passes a BOM through this
# library loses what it says about the model. Output:
#     valid before: True | valid after: True | keys after: ['bom-ref', 'name', 'type', 'version']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0'
"$folder/venv/bin/python" -W error::UserWarning - <<'PYTHON'
import json

from cyclonedx.model.bom import Bom
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

card = {
    "modelParameters": {"task": "classification"},
    "quantitativeAnalysis": {"performanceMetrics": [{"type": "accuracy", "value": "0.91"}]},
    "considerations": {"fairnessAssessments": [{"groupAtRisk": "65+", "harms": "lower recall"}]},
}
document = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "components": [
        {"type": "machine-learning-model", "bom-ref": "m", "name": "intents", "version": "v2", "modelCard": card}
    ],
}
validator = JsonStrictValidator(SchemaVersion.V1_6)
before = validator.validate_str(json.dumps(document))
written = JsonV1Dot6(Bom.from_json(document)).output_as_string()
after = validator.validate_str(written)
component = json.loads(written)["components"][0]
print("valid before:", before is None, "| valid after:", after is None, "| keys after:", sorted(component))
assert before is None and after is None, "the behaviour has changed: a document is no longer valid"
assert component["type"] == "machine-learning-model", "the behaviour has changed"
assert "modelCard" not in component, "the behaviour has changed: the model card is kept"
print("as stated")
PYTHON
