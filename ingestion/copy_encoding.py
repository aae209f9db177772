"""Arrow columns as PostgreSQL's binary COPY reads them: whole columns at a time, no text between.

Each value is its length in four bytes and its bytes, a null the length -1; numbers and moments are
big-endian, moments in microseconds since 2000 (PostgreSQL's manual, COPY, "Binary Format").
Written here because ADBC, which does the same, cannot work within the caller's transaction.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
_NULL = pa.scalar(b"\xff\xff\xff\xff", pa.binary())
_EPOCH_MICROSECONDS = 946_684_800_000_000

# PostgreSQL's numbers of the types that columns may have, and what numpy calls their bytes.
_BOOLEAN, _BIGINT, _INTEGER, _TEXT, _DOUBLE, _INSTANT = 16, 20, 23, 25, 701, 1184
_BYTES: Mapping[int, str] = {
    _BOOLEAN: ">i1", _BIGINT: ">i8", _INTEGER: ">i4", _DOUBLE: ">f8", _INSTANT: ">i8"
}  # fmt: skip
_READABLE: Mapping[int, pa.DataType] = {
    _BOOLEAN: pa.bool_(),
    _BIGINT: pa.int64(),
    _INTEGER: pa.int32(),
    _TEXT: pa.string(),
    _DOUBLE: pa.float64(),
    _INSTANT: pa.timestamp("us", "UTC"),
}


def can_encode(schema: pa.Schema, types: Sequence[int]) -> bool:
    """Tell whether columns can be written for database columns of these types."""
    return all(_READABLE.get(t) == field.type for t, field in zip(types, schema, strict=True))


def encoded(table: pa.Table, types: Sequence[int]) -> pa.Buffer:
    """Give the rows of a table that has any, without header and trailer; see `can_encode`."""
    count = pa.scalar(len(types).to_bytes(2, "big"), pa.binary())
    fields = [_fields(c, t) for c, t in zip(table.columns, types, strict=True)]
    rows = pc.binary_join_element_wise(count, *fields, b"")
    # Rows stand one after the other: the bytes of all of them are what is sent.
    _, ends, content = rows.buffers()
    return content.slice(0, int(np.frombuffer(ends, np.int32)[len(rows)]))


def _fields(column: pa.ChunkedArray, type_: int) -> pa.Array:
    values = column.combine_chunks()
    written = _texts(values) if type_ == _TEXT else _numbers(values, type_)
    return pc.if_else(values.is_null(), _NULL, written) if values.null_count else written


def _texts(values: pa.Array) -> pa.Array:
    lengths = pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    texts = pc.fill_null(values.cast(pa.binary()), b"")
    return pc.binary_join_element_wise(_packed(lengths.astype(">i4")), texts, b"")


def _numbers(values: pa.Array, type_: int) -> pa.Array:
    if type_ == _INSTANT:
        values = values.cast(pa.int64())
    plain = pc.fill_null(values, False if type_ == _BOOLEAN else 0).to_numpy(zero_copy_only=False)
    if type_ == _INSTANT:
        plain = plain - _EPOCH_MICROSECONDS
    width = np.dtype(_BYTES[type_]).itemsize
    rows = np.empty(len(plain), dtype=[("length", ">i4"), ("value", _BYTES[type_])])
    rows["length"], rows["value"] = width, plain
    return _packed(rows)


def _packed(rows: np.ndarray) -> pa.Array:
    """Give the bytes of each row of an array."""
    bytes_ = pa.py_buffer(rows.tobytes())
    fixed = pa.Array.from_buffers(pa.binary(rows.dtype.itemsize), len(rows), [None, bytes_])
    return fixed.cast(pa.binary())
