"""What was known when: late rows and corrections make new versions of a row, never rewrite one.

A feature row is named by its event time *e* and created time *c*: it is computed from exactly the
rows observed by *e* and ingested by *c*. When rows arrive in the order in which they were observed
there is one version per event. A late row starts a new version of every later event: the entity
is then copied, once per late arrival, with what was known from that arrival on.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from feature_repo.transformations.sequences import (
    BoolArray,
    FloatArray,
    IntArray,
    is_first,
    start_of,
)


class Knowledge(NamedTuple):
    """Rows of entities and of their copies, sorted by copy and time.

    Attributes:
        rows: Index of each row in the original arrays.
        entity: Code of the copy that the row belongs to; each copy is an entity of its own.
        epoch: The first ingestion time at which this copy differs from the one before it.
    """

    rows: IntArray
    entity: IntArray
    epoch: FloatArray


def known_versions(entity: IntArray, observed: FloatArray, ingested: FloatArray) -> Knowledge:
    """Copy the entities that have late rows, once per late arrival.

    Args:
        entity: Entity codes, any order.
        observed: When each row was observed, epoch seconds.
        ingested: When each row reached us, epoch seconds.
    """
    order = np.lexsort((ingested, observed, entity))
    sorted_entity, arrival = entity[order], ingested[order]
    late = _late(sorted_entity, observed[order], arrival)
    starts = np.flatnonzero(is_first(sorted_entity))
    stops = np.append(starts[1:], len(order))
    if not late.any():
        code = np.cumsum(is_first(sorted_entity)) - 1
        return Knowledge(order, code.astype(np.int64), np.full(len(order), -np.inf))
    rows: list[IntArray] = []
    epochs: list[FloatArray] = []
    for start, stop in zip(starts, stops, strict=True):
        members = order[start:stop]
        arrivals = np.unique(arrival[start:stop][late[start:stop]])
        bounds = np.concatenate([[-np.inf], arrivals, [np.inf]])
        for since, until in pairwise(bounds):
            known = members[ingested[members] < until]
            rows.append(known)
            epochs.append(np.full(len(known), since))
    code = np.repeat(np.arange(len(rows), dtype=np.int64), [len(part) for part in rows])
    return Knowledge(np.concatenate(rows), code, np.concatenate(epochs))


def _late(entity: IntArray, observed: FloatArray, arrival: FloatArray) -> BoolArray:
    """Mark rows that arrived after a row observed no earlier; rows sorted by all three."""
    late = arrival > arrival[start_of(is_first(entity, observed))]
    if not np.any((np.diff(arrival) < 0) & (np.diff(entity) == 0)):
        return late
    starts = np.flatnonzero(is_first(entity))
    for start, stop in zip(starts, np.append(starts[1:], len(entity)), strict=True):
        part = arrival[start:stop]
        late[start:stop] |= part > np.minimum.accumulate(part[::-1])[::-1]
    return late
