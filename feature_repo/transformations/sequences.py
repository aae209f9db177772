"""Arithmetic on rows sorted by entity, then by time: as-of look-ups, running totals and medians."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

DAY_SECONDS = 86_400.0

# Entity code and time share one int64 key: milliseconds since 2005 (nothing on YouTube is older)
# need 40 bits for thirty years, which leaves room for eight million entities.
_EPOCH_MS = 1_104_537_600_000
_TIME_RANGE_MS = 1 << 40


def sort_key(entity: IntArray, seconds: FloatArray) -> IntArray:
    """Give one int64 that orders rows by entity, then by time to the millisecond."""
    milliseconds = np.floor(seconds * 1000.0).astype(np.int64) - _EPOCH_MS
    return entity * _TIME_RANGE_MS + np.clip(milliseconds, 0, _TIME_RANGE_MS - 1)


def latest_at(
    entity: IntArray, seconds: FloatArray, at_entity: IntArray, at_seconds: FloatArray
) -> IntArray:
    """Give the index of each entity's latest row at or before a moment, -1 where there is none.

    Args:
        entity: Entity codes of the rows, ascending.
        seconds: Times of the rows, ascending within an entity.
        at_entity: Entities asked for.
        at_seconds: Moments asked for, one per entity asked for.
    """
    if len(entity) == 0:
        return np.full(len(at_entity), -1, dtype=np.int64)
    position = np.searchsorted(
        sort_key(entity, seconds), sort_key(at_entity, at_seconds), side="right"
    )
    index = position.astype(np.int64) - 1
    # Rows of the moment's own millisecond may come after it: step back over them.
    while True:
        found = (index >= 0) & (entity[index] == at_entity)
        ahead = found & (seconds[index] > at_seconds)
        if not ahead.any():
            return np.where(found, index, -1)
        index -= ahead


def is_first(*keys: NDArray[np.generic]) -> BoolArray:
    """Mark rows whose keys differ from those of the row before; the first row is marked."""
    first = np.zeros(len(keys[0]), dtype=bool)
    first[:1] = True
    for key in keys:
        first[1:] |= key[1:] != key[:-1]
    return first


def start_of(first: BoolArray) -> IntArray:
    """Give for every row the index of the marked row that starts its run."""
    index = np.arange(len(first), dtype=np.int64)
    return np.maximum.accumulate(np.where(first, index, 0))


def running_max(values: FloatArray, entity: IntArray) -> FloatArray:
    """Give the largest value of an entity up to each row; NaN before the first known one."""
    result = np.where(np.isnan(values), -np.inf, values)
    starts = np.flatnonzero(is_first(entity))
    for start, stop in zip(starts, np.append(starts, len(values))[1:], strict=True):
        np.maximum.accumulate(result[start:stop], out=result[start:stop])
    return np.where(np.isneginf(result), np.nan, result)


def running_count(marked: BoolArray, entity: IntArray) -> FloatArray:
    """Count the marked rows of an entity up to and including each row."""
    total = np.cumsum(marked)
    start = start_of(is_first(entity))
    return (total - total[start] + marked[start]).astype(np.float64)


def last_values(values: FloatArray, entity: IntArray, count: int) -> FloatArray:
    """Give each row's last `count` values of its entity, its own first, NaN where fewer."""
    window = np.full((len(values), count), np.nan)
    index = np.arange(len(values), dtype=np.int64)
    start = start_of(is_first(entity))
    for back in range(count):
        inside = index - back >= start
        window[inside, back] = values[index[inside] - back]
    return window


def row_median(window: FloatArray) -> FloatArray:
    """Give the median of each row's known values; NaN for a row without any."""
    ordered = np.sort(window, axis=1)  # NaN sorts last
    known = np.sum(~np.isnan(window), axis=1)
    rows = np.arange(len(window))
    low = ordered[rows, np.maximum(known - 1, 0) // 2]
    high = ordered[rows, np.minimum(known // 2, window.shape[1] - 1)]
    return np.where(known > 0, (low + high) / 2.0, np.nan)


def row_spread(window: FloatArray) -> FloatArray:
    """Give the median absolute deviation of each row's known values; NaN below three values."""
    deviation = np.abs(window - row_median(window)[:, np.newaxis])
    enough = np.sum(~np.isnan(window), axis=1) >= 3
    return np.where(enough, row_median(deviation), np.nan)
