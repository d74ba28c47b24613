"""Render a gathered report: print form, PDF, evidence bundle."""
