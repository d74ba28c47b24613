"""One training run in a process of its own: QLoRA on a quantised base. The only place that trains."""
