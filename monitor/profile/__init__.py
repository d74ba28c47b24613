"""From rows to counts: bins, codings, block profiles and the fitted reference. Pure."""
