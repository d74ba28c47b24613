"""Parts of the bench of detection: kinds of traffic, shifts, other rules, and one trial."""
