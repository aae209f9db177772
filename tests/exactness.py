"""Equality to the bit, and the names of what differs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

# Examples enough to find what is wrong, few enough to be run at every change.
quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
few = settings(quick, max_examples=25)


def bits(values: Any) -> np.ndarray:
    """Give doubles as whole numbers, so that -0 is not 0 and every NaN is the same."""
    doubles = np.atleast_1d(np.asarray(values, dtype=np.float64))
    return np.where(np.isnan(doubles), np.nan, doubles).view(np.int64)


def differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> set[str]:
    """Name the columns of doubles or texts that differ anywhere, or are on one side only."""
    names = set(left) ^ set(right)
    return names | {name for name in set(left) & set(right) if not _same(left[name], right[name])}


def _same(left: Any, right: Any) -> bool:
    left, right = np.atleast_1d(left), np.atleast_1d(right)
    if any(isinstance(value, str) for value in (*left[:1], *right[:1])):
        return list(left) == list(right)
    return np.array_equal(bits(left), bits(right))


def rows_alone(features: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Put features that were computed row by row into columns."""
    return {name: np.concatenate([row[name] for row in features]) for name in features[0]}
