#!/usr/bin/env bash
# fairlearn 0.15.0, ThresholdOptimizer: everybody in a group that was not there at `fit` gets the answer 0.
#
# A classifier with group-wise thresholds is fitted on the groups "A" and "B", then asked about people of a group "C",
# about "a" (another spelling of "A") and about "A " (a trailing blank), all with features that every known group gets
# a 1 for. Expected: an error, as for a missing value (NaN among the groups raises ValueError), or a documented
# fallback. Seen on 2026-11-28 with Python 3.11: no error, no warning, and 0 for each of them. It matters in
# production: a new label or a changed spelling in a protected attribute turns into "nobody is selected". Output:
#     share selected: {'A': 1.0, 'B': 1.0, 'C': 0.0, 'a': 0.0, 'A ': 0.0}
#     a missing group: Input contains NaN.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fairlearn==0.15.0 scikit-learn==1.9.1 numpy==2.4.6 pandas==2.3.3
"$folder/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
from fairlearn.postprocessing import ThresholdOptimizer
from sklearn.linear_model import LogisticRegression

draw = np.random.default_rng(7)
x = draw.normal(size=(2_000, 1))
group = draw.choice(["A", "B"], 2_000)
y = (x[:, 0] + draw.normal(size=2_000) > 0).astype(int)
model = ThresholdOptimizer(
    estimator=LogisticRegression(), constraints="demographic_parity", predict_method="predict_proba"
).fit(x, y, sensitive_features=group)

strong = np.full((200, 1), 3.0)  # far above every threshold


def selected(name: str) -> float:
    return float(model.predict(strong, sensitive_features=np.full(200, name), random_state=0).mean())


seen = {name: selected(name) for name in ("A", "B", "C", "a", "A ")}
print("share selected:", seen)
try:
    model.predict(strong[:2], sensitive_features=np.array([np.nan, np.nan]), random_state=0)
except ValueError as error:
    print("a missing group:", str(error).splitlines()[0][:80])
else:
    raise AssertionError("the behaviour has changed: a missing group raises nothing")
assert seen == {"A": 1.0, "B": 1.0, "C": 0.0, "a": 0.0, "A ": 0.0}, "the behaviour has changed"
print("as stated")
PYTHON
