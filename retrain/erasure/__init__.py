"""Taking a person out of what was learned and explained; the job that erases, and its proof."""
