"""KPIs of a classifier: predictions against outcomes, with or without a score."""

from typing import Final

from monitor.kpi.classification import (
    accuracy,
    balanced_accuracy,
    brier,
    confidence_auc,
    expected_calibration_error,
    f1_macro,
    log_loss,
    pr_auc,
    precision_macro,
    recall_macro,
    roc_auc,
)

KPIS: Final = {
    kpi.name: kpi
    for kpi in (
        accuracy.KPI,
        balanced_accuracy.KPI,
        brier.KPI,
        confidence_auc.KPI,
        expected_calibration_error.KPI,
        f1_macro.KPI,
        log_loss.KPI,
        pr_auc.KPI,
        precision_macro.KPI,
        recall_macro.KPI,
        roc_auc.KPI,
    )
}
