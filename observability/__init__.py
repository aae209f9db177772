"""Outcomes, drift and alerts."""
