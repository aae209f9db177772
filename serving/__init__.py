"""Forecasts by id over HTTP."""
