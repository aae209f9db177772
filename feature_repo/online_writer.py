"""Writes feature rows to Redis many at a time: Feast's bytes and rules, without its costs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from redis import Redis

from feature_repo import online_layout as layout
from feature_repo.schemas import FEATURE_TABLES

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Bounds the memory of a write: about 6 MB of commands for the widest view.
ROWS_AT_ONCE = 4_000

# Between reading what is stored and writing, no other writer of ours may write: the older of two
# rows could stand. A holder that dies loses the lock by itself.
_LOCK, _LOCK_SECONDS = "foreview:writing", 60

# A number as a field of HSET: `$4 field $9 tag double`. A null is empty: `$4 field $0`.
_CELL = 25
_FIELD, _LENGTH, _VALUE, _DOUBLE = slice(4, 8), 11, slice(14, 23), slice(15, 23)
_HEADS = 3  # keys and timestamps come before the features of a table


class Written(NamedTuple):
    """What became of the rows of a write."""

    written: int = 0
    outdated: int = 0  # what is stored is newer
    expired: int = 0  # of entities too old to be served: taken out

    def __add__(self, other: object) -> "Written":
        assert isinstance(other, Written)
        return Written(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class ViewLayout:
    """How the rows of a feature view become commands."""

    view: str
    join_key: str
    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    key: Callable[[str], bytes]
    cells: NDArray[np.uint8]
    text_heads: tuple[bytes, ...]

    @classmethod
    @cache
    def of(cls, view: str, project: str = layout.PROJECT) -> "ViewLayout":
        """Lay out the view of a feature table, by the table's schema."""
        schema = FEATURE_TABLES[view]
        join_key, fields = schema.names[0], list(schema)[_HEADS:]
        texts = tuple(field.name for field in fields if pa.types.is_string(field.type))
        numbers = tuple(field.name for field in fields if pa.types.is_float64(field.type))
        layout.feature_fields([(view, name) for name in (*texts, *numbers)])  # none collide
        cells = np.frombuffer(b"$4\r\n____\r\n$9\r\n\x29________\r\n" * len(numbers), np.uint8)
        cells = cells.reshape(len(numbers), _CELL).copy()
        for cell, name in zip(cells, numbers, strict=True):
            cell[_FIELD] = np.frombuffer(layout.feature_field(view, name), np.uint8)
        heads = tuple(b"$4\r\n%b\r\n" % layout.feature_field(view, name) for name in texts)
        encoder = layout.key_encoder(join_key, project)
        return cls(view, join_key, texts, numbers, encoder, cells, heads)


def write(
    client: "Redis", rows: pa.Table, view: ViewLayout, lifetimes: FloatArray | None = None
) -> Written:
    """Write the latest row of each entity, unless what is stored is newer.

    Of rows with one event time the last created is the latest, and one that is already stored is
    replaced: it may have been corrected since.

    Args:
        client: Of one Redis server.
        rows: In the schema of the view's feature table; several rows of an entity are allowed.
        view: How rows are laid out.
        lifetimes: Seconds that each row's entity is to be kept from now on; it is taken out at
            once where that is no time at all, and kept for good where it is NaN or left out. A row
            older than what is stored says nothing of that either.
    """
    total = Written()
    kept = latest(rows, view.join_key)
    for first in range(0, len(kept), ROWS_AT_ONCE):
        at = kept[first : first + ROWS_AT_ONCE]
        part = rows.take(pa.array(at)).combine_chunks()
        with client.lock(_LOCK, timeout=_LOCK_SECONDS):
            total += _write_part(client, part, view, None if lifetimes is None else lifetimes[at])
    return total


def latest(rows: pa.Table, join_key: str) -> IntArray:
    """Give the position of each entity's latest row by event time, then by created time."""
    if len(rows) == 0:
        return np.zeros(0, dtype=np.int64)
    entity = rows[join_key].combine_chunks().dictionary_encode().indices.to_numpy()
    event, created = (_micros(rows[name]) for name in ("event_timestamp", "created_timestamp"))
    order = np.lexsort((created, event, entity))
    is_last = np.append(np.diff(entity[order]) != 0, True)
    return np.sort(order[is_last]).astype(np.int64)


def stored_numbers(
    client: "Redis", view: ViewLayout, feature: str, entity_ids: Sequence[str]
) -> FloatArray:
    """Read one number of many entities from the online store; NaN where null or absent."""
    field = layout.feature_field(view.view, feature)
    commands = [_command(b"HGET", view.key(entity_id), field) for entity_id in entity_ids]
    return layout.decode_numbers(_exchange(client, commands))


def _write_part(
    client: "Redis", rows: pa.Table, view: ViewLayout, lifetimes: FloatArray | None
) -> Written:
    keys = [view.key(entity_id) for entity_id in rows[view.join_key].to_pylist()]
    event = _micros(rows["event_timestamp"])
    field = layout.timestamp_field(view.view)
    stored = _exchange(client, [_command(b"HGET", key, field) for key in keys])
    known = np.array([-1 if data is None else layout.decode_nanos(data) for data in stored])
    # Feast keeps nanoseconds, feature tables microseconds.
    newest = event * 1000 >= known
    expired = newest & (lifetimes <= 0 if lifetimes is not None else False)
    current = newest & ~expired
    commands = [_command(b"UNLINK", keys[at]) for at in np.flatnonzero(expired)]
    kept = np.flatnonzero(current)
    if len(kept):
        chosen = rows.take(pa.array(kept))
        commands += _hset_commands(chosen, [keys[at] for at in kept], event[kept], view)
        if lifetimes is not None:
            commands += [
                _command(b"EXPIRE", keys[at], b"%d" % max(lifetimes[at], 1))
                for at in kept
                if lifetimes[at] == lifetimes[at]  # not NaN
            ]
    _exchange(client, commands)
    return Written(len(kept), int((~newest).sum()), int(expired.sum()))


def _hset_commands(
    rows: pa.Table, keys: Sequence[bytes], event: IntArray, view: ViewLayout
) -> list[bytes]:
    """Encode each row as HSET with its time, its texts and its numbers."""
    stamp_head = _bulk(layout.timestamp_field(view.view))
    head = b"*%d\r\n$4\r\nHSET\r\n" % (4 + 2 * (len(view.texts) + len(view.numbers)))
    texts = [rows[name].to_pylist() for name in view.texts]
    numbers = _encoded_numbers(_matrix(rows, view.numbers), view)
    commands = []
    for at, (key, body) in enumerate(zip(keys, numbers, strict=True)):
        seconds, micros = divmod(int(event[at]), 1_000_000)
        stamp = layout.encode_timestamp(seconds, micros * 1000)
        parts = [head, _bulk(key), stamp_head, _bulk(stamp)]
        for text_head, values in zip(view.text_heads, texts, strict=True):
            parts += [text_head, _bulk(layout.encode_value(values[at], "string"))]
        commands.append(b"".join((*parts, body)))
    return commands


def _encoded_numbers(values: FloatArray, view: ViewLayout) -> Iterator[memoryview]:
    """Encode a matrix of doubles, one row after another; NaN is null."""
    rows, width = values.shape
    cells = np.empty((rows, width, _CELL), dtype=np.uint8)
    cells[:] = view.cells
    cells[:, :, _DOUBLE] = values.astype("<f8").view(np.uint8).reshape(rows, width, 8)
    null = np.isnan(values)
    cells[null, _LENGTH] = ord("0")
    kept = np.ones(cells.shape, dtype=bool)
    kept[null, _VALUE] = False
    data = memoryview(cells[kept].tobytes())
    lengths = width * _CELL - (_VALUE.stop - _VALUE.start) * null.sum(axis=1)
    ends = np.cumsum(lengths).tolist()
    yield from (data[end - length : end] for end, length in zip(ends, lengths, strict=True))


def _matrix(rows: pa.Table, names: Sequence[str]) -> FloatArray:
    columns = [
        pc.fill_null(rows[name], np.nan).combine_chunks().to_numpy(zero_copy_only=False)
        for name in names
    ]
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.float64)


def _micros(column: pa.ChunkedArray) -> IntArray:
    whole: IntArray = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    return whole


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _command(*parts: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(parts), b"".join([_bulk(part) for part in parts]))


def _exchange(client: "Redis", commands: Sequence[bytes]) -> list[Any]:
    """Send packed commands at once and give the replies, in order.

    Raises:
        redis.RedisError: Redis is away, or refused one of them.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        connection.send_packed_command([b"".join(commands)])
        return [connection.read_response(disable_decoding=True) for _ in commands]
    except BaseException:
        connection.disconnect()  # replies still to come would be taken for those of others
        raise
    finally:
        pool.release(connection)
