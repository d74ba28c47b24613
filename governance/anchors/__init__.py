"""Anchors: places outside the installation that receive each checkpoint, so that no past one can be denied."""
