"""Rows as PostgreSQL's COPY takes them in its binary format: it need not parse them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
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
_REAL = np.dtype([("size", ">i4"), ("value", ">f4")])


def row(fields: Sequence[bytes | None]) -> bytes:
    """Give a row of encoded fields; a text is its own bytes, so is JSON."""
    parts = [_COUNT(len(fields))]
    for field in fields:
        if field is None:
            parts.append(_NULL)
        else:
            parts += (_SIZE(len(field)), field)
    return b"".join(parts)


def timestamp(moment: datetime) -> bytes:
    """Encode a timestamptz."""
    return _LONG((moment - _EPOCH) // _MICROSECOND)


def reals(values: NDArray[np.float32]) -> bytes:
    """Encode a real[]."""
    elements = np.empty(len(values), _REAL)
    elements["size"], elements["value"] = 4, values
    return _ARRAY(1, 0, _REAL_TYPE, len(values), 1) + elements.tobytes()


def texts(values: Iterable[str]) -> bytes:
    """Encode a text[]."""
    encoded = [value.encode() for value in values]
    if not encoded:
        return _NO_TEXTS
    elements = b"".join([_SIZE(len(value)) + value for value in encoded])
    return _ARRAY(1, 0, _TEXT_TYPE, len(encoded), 1) + elements
