"""Stand-ins that benchmarks simulate long operation with."""
