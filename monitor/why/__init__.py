"""Why an alert: what tells the rows of a window from the reference, and what lost cases have in common."""
