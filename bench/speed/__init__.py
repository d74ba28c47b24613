"""Parts of the bench of drift: rows to measure, what runs in a process of its own, and the law of its size."""
