"""What the words of a report mean, printed in its appendix."""

from reports.document import Definition

DEFINITIONS = tuple(
    Definition(term=term, meaning=meaning, source=source)
    for term, meaning, source in (
        (
            "window",
            "Consecutive events of one model, judged once against the reference; windows of one scale do not overlap.",
            "model spec, monitors.windows",
        ),
        (
            "reference",
            "The first events a version served, or the rows the spec names; every later window is compared with it.",
            "model spec, baseline",
        ),
        (
            "drift verdict",
            "Permutation test over blocks of rows with the largest statistic of all columns: the share p of "
            "re-drawn windows that differ from the reference at least as much. Drift is declared when p is at most "
            "alpha and the change exceeds the declared floor.",
            "Westfall and Young (1993)",
        ),
        (
            "alpha",
            "Chance of a false alarm in one window, all columns together, derived from the declared budget.",
            "model spec, monitors.false_alarms",
        ),
        (
            "smallest visible change",
            "The change of a column that a window of this size would have shown; smaller ones may have "
            "happened unseen.",
            "monitor.detect.findings",
        ),
        (
            "realised KPI",
            "The KPI computed from events whose outcomes have arrived; label coverage is their share of the window.",
            "model spec, monitors.kpi",
        ),
        (
            "estimated KPI",
            "What a KPI was expected to be before outcomes arrived, from calibrated probabilities (classification) or "
            "expected losses (regression) learned on labelled reference rows. The band should hold the realised value "
            "in 95 of 100 windows while inputs alone change; it is called invalid when it misses too often.",
            "docs/estimates.md",
        ),
        (
            "interval",
            "Range that covers the true value in 95 of 100 samples of this size; named method per line.",
            "monitor.kpi, monitor.fairness",
        ),
        (
            "alarm of a KPI or fairness metric",
            "An interval at the level that the false-alarm budget gives, at least 95 %, lies wholly beyond the limit; "
            "a limit inside it may be crossed by chance: no alarm. With too few rows a value is shown and not judged.",
            "monitor.windows.limits",
        ),
        (
            "demographic parity difference",
            "Largest difference of the rate of a prediction between groups.",
            "Agarwal et al. (2018); as fairlearn",
        ),
        (
            "equalized odds difference",
            "Largest difference between groups of the true positive or the false positive rate.",
            "Hardt et al. (2016); as fairlearn",
        ),
        (
            "too small",
            "A group with fewer rows than the declared minimum: its size is printed, its rate is not.",
            "model spec, min_group",
        ),
        (
            "trigger decision",
            "One consideration of the retrain policy, recorded whether or not a retrain followed.",
            "model spec, retrain.when",
        ),
        (
            "change envelope",
            "Limits a retrain may not leave, declared before it starts.",
            "model spec, retrain.envelope",
        ),
        (
            "gate",
            "A check of the candidate against the champion on the same rows; an unknown result blocks too.",
            "model spec, retrain.gates",
        ),
        (
            "additivity residual",
            "Difference between the model's output and the sum of the attributions that explain it.",
            "Lundberg and Lee (2017)",
        ),
        (
            "ledger entry",
            "One line of an append-only log whose Merkle tree head is signed; the number in the column `entry`.",
            "RFC 6962, RFC 8785, C2SP signed note",
        ),
    )
)
