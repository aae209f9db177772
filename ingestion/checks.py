"""Runs the checks of a suite over Arrow columns: a pass per check, microseconds for few rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.suites import Check

# Row number -> the names of what it fails.
Violations = Mapping[int, tuple[str, ...]]


def violations(columns: pa.Table, checks: Sequence[Check]) -> Violations:
    """Name what each row fails of the critical checks, in their order."""
    failed: dict[int, tuple[str, ...]] = {}
    for check in checks:
        if check.severity == "critical":
            for row in failing_rows(columns[check.column], check):
                failed[row] = (*failed.get(row, ()), check.reason)
    return failed


def failing_rows(column: pa.ChunkedArray, check: Check) -> list[int]:
    """Give the positions of the rows that fail a check."""
    if check.kind == "not_null":
        if column.null_count == 0:
            return []
        return _positions(pc.is_null(column))
    if check.kind == "matches":
        holds = pc.match_substring_regex(column, check.limit)
    elif check.kind == "at_least":
        holds = pc.greater_equal(column, check.limit)
    else:
        holds = pc.less_equal(column, check.limit)
    if pc.all(holds, min_count=0).as_py() is not False:
        return []
    return _positions(pc.invert(pc.fill_null(holds, True)))


def _positions(mask: pa.ChunkedArray) -> list[int]:
    return np.flatnonzero(mask.to_numpy()).tolist()
