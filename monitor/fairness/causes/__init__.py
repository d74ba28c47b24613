"""Where a disparity between two groups comes from: its parts by column, and what is left with columns held fixed."""
