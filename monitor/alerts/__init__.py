"""Alerts: open, continue and withdraw them, episode by episode."""
