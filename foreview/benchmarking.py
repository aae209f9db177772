"""Finding and running the benchmarks: each module of `benchmarks` has a function `measure`."""

import importlib
from pathlib import Path
from typing import Any

import benchmarks

Rows = list[dict[str, Any]]


def benchmark_names() -> list[str]:
    """Name the benchmarks there are."""
    return sorted(path.stem for path in Path(benchmarks.__path__[0]).glob("[a-z]*.py"))


def run_benchmark(name: str) -> Rows:
    """Run one benchmark; each row of its result is a line of its table."""
    rows: Rows = importlib.import_module(f"benchmarks.{name}").measure()
    return rows
