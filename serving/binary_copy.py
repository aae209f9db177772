"""Rows as PostgreSQL's COPY takes them in its binary format: it need not parse them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from struct import Struct

import numpy as np
from numpy.typing import NDArray

HEAD, TAIL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"

_EPOCH, _MICROSECOND = datetime(2000, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_COUNT, _SIZE, _LONG = Struct(">h").pack, Struct(">i").pack, Struct(">q").pack
_NULL = _SIZE(-1)
# Dimensions, whether there are nulls, type of the elements, how many, number of the first.
_ARRAY = Struct(">iiIii").pack
_TEXT_TYPE, _REAL_TYPE = 25, 700
_NO_TEXTS = Struct(">iiI").pack(0, 0, _TEXT_TYPE)


def row(count: int, *encoded: bytes) -> bytes:
    """Give a row of so many fields, encoded by `fields`."""
    return b"".join((_COUNT(count), *encoded))


def fields(values: Sequence[bytes | None]) -> bytes:
    """Encode fields that follow each other; a text is its own bytes, so is JSON."""
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts += (_SIZE(len(value)), value)
    return b"".join(parts)


def timestamp(moment: datetime) -> bytes:
    """Encode a timestamptz."""
    return _LONG((moment - _EPOCH) // _MICROSECOND)


def reals(values: NDArray[np.float32]) -> bytes:
    """Encode a real[]."""
    head, elements = _form_of_reals(len(values))
    elements = elements.copy()
    elements[:, 1] = values.view(np.int32)
    return head + elements.tobytes()


@lru_cache
def _form_of_reals(count: int) -> tuple[bytes, NDArray[np.int32]]:
    """Give an array's head, and the size and place of each element, with the high byte first."""
    elements = np.full((count, 2), 4, ">i4")
    return _ARRAY(1, 0, _REAL_TYPE, count, 1), elements


def texts(values: Iterable[str]) -> bytes:
    """Encode a text[]."""
    encoded = [value.encode() for value in values]
    if not encoded:
        return _NO_TEXTS
    elements = b"".join([_SIZE(len(value)) + value for value in encoded])
    return _ARRAY(1, 0, _TEXT_TYPE, len(encoded), 1) + elements
