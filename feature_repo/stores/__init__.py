"""Feast store plug-ins: what the stock stores do too slowly or too loosely."""
