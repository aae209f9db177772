"""Faults on purpose: real processes on loopback, killed, hung, upgraded and starved under load."""
