"""Foreview's feature repository: the language that every component speaks."""
