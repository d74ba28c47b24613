"""How a window is made of blocks, and how a verdict names its length."""

from monitor.detect.arrangement import WindowLayout
from monitor.spec.duration import duration
from monitor.spec.model import ModelSpec
from monitor.spec.monitors import RowWindow
from monitor.spec.times import BLOCKS_PER_WINDOW, block_length, profile_parts


def window_layout(spec: ModelSpec, window_length: str) -> WindowLayout:
    """How windows of one length are divided into profile blocks."""
    windows = spec.monitors.window_lengths
    if isinstance(windows, RowWindow):
        return WindowLayout(BLOCKS_PER_WINDOW, f"{windows.rows // BLOCKS_PER_WINDOW} rows")
    length = block_length(windows)
    parts = profile_parts(windows)
    seconds = int(length.total_seconds()) // parts
    return WindowLayout(
        int(duration(window_length).total_seconds()) // seconds, _duration_words(int(length.total_seconds())), seconds,
        spec.monitors.phases, spec.monitors.drift.short_reference,
    )  # fmt: skip


def _duration_words(seconds: int) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return unit if seconds == size else f"{seconds // size} {unit}s"
    return f"{seconds} seconds"
