"""Where a fairness disparity comes from, from raw rows: for each fairness alert, and for any period that is asked."""
