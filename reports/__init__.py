"""Audit reports: gather facts, draw charts, render PDF, JSON and the evidence bundle."""
