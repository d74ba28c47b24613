"""Backups of a running installation, and their restore into an empty home folder."""
