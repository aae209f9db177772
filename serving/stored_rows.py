"""Rows of the online store, from the bytes that Redis sends to numbers and texts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_repo import online_layout as layout
from serving.redis_kernel import HASH_MASK, HASH_OFFSET, HASH_PRIME, read_rows

FloatArray = NDArray[np.float64]


class Rows(NamedTuple):
    """Rows of one kind of entity.

    Attributes:
        texts: Of each row; None where null or absent.
        numbers: Shape (n, numbers); NaN where null or absent.
        times: When each view's row was observed, epoch seconds, of each row; NaN without one.
    """

    texts: list[tuple[str | None, ...]]
    numbers: FloatArray
    times: list[list[float]]


class RowReader:
    """Reads wanted fields of rows as `HGETALL` gives them; other fields are passed by."""

    def __init__(self, texts: Sequence[bytes], numbers: Sequence[bytes], times: Sequence[bytes]):
        """Lay out the names of fields, all of them different."""
        fields = (*texts, *numbers, *times)
        self._texts, self._numbers, self._times = len(texts), len(numbers), len(times)
        self._names = np.frombuffer(bytearray(b"".join(fields) or b"\0"), np.uint8)
        self._bounds = np.cumsum([0, *map(len, fields)])
        self._slots = np.full(1 << (2 * len(fields) + 1).bit_length(), -1, np.int32)
        for at, field in enumerate(fields):
            slot = _hashed(field) & (len(self._slots) - 1)
            while self._slots[slot] >= 0:
                slot = (slot + 1) & (len(self._slots) - 1)
            self._slots[slot] = at

    def read(self, replies: Sequence[bytes]) -> Rows:
        """Decode replies that are whole.

        Raises:
            LayoutError: A reply is no row, or a value is not of Feast's layout.
        """
        n, fields = len(replies), self._texts + self._numbers + self._times
        joined = bytearray().join(replies)
        bits = np.empty((n, self._numbers), np.uint64)
        times, spans = np.empty((n, self._times)), np.empty((n, fields, 2), np.int64)
        others = read_rows(
            np.frombuffer(joined, np.uint8), self._names, self._bounds, self._slots,
            self._texts, self._numbers, bits, times, spans,
        )  # fmt: skip
        if others < 0:
            raise layout.LayoutError("Redis answers HGETALL with something else than a row")
        numbers = bits.view(np.float64)
        if others:
            self._decode_others(joined, spans, numbers, times)
        texts = [
            tuple([layout.decode_text(joined[a:b] if a >= 0 else None) for a, b in row])
            for row in spans[:, : self._texts].tolist()
        ]
        return Rows(texts, numbers, times.tolist())

    def _decode_others(
        self, joined: bytearray, spans: NDArray[np.int64], numbers: FloatArray, times: FloatArray
    ) -> None:
        """Decode what is not of the usual kind, and the rest of these rows again."""
        first_time = self._texts + self._numbers
        for row, of_row in enumerate(spans.tolist()):
            values = [joined[a:b] if a >= 0 else None for a, b in of_row]
            numbers[row] = layout.decode_numbers(values[self._texts : first_time])
            times[row] = [layout.decode_timestamp(value) for value in values[first_time:]]


def _hashed(name: bytes) -> int:
    """Hash a field's name as the kernel does: FNV-1a of 32 bits (Fowler, Noll and Vo)."""
    hashed = HASH_OFFSET
    for byte in name:
        hashed = ((hashed ^ byte) * HASH_PRIME) & HASH_MASK
    return hashed
