"""Reads what Redis sends, compiled: see `serving.compiling`.

A video and its channel are some hundred and thirty small values. As objects of Python they cost
more than the trees that read them; here they are a few microseconds.
"""

import numpy as np
from numpy.typing import NDArray

from serving.compiling import compiled

FloatArray = NDArray[np.float64]
_Bytes = NDArray[np.uint8]
_I64 = NDArray[np.int64]

_END, _LINE = ord("\r"), 2  # a line ends with two bytes
_ARRAY, _SET, _PUSH, _MAP, _BULK, _TEXT = (ord(kind) for kind in "*~>%$=")
_LINES = tuple(ord(kind) for kind in "+-:_,#(")  # what is told in one line
_MINUS, _ZERO, _NINE = ord("-"), ord("0"), ord("9")
_MOST = 1 << 29  # no reply of Redis has more parts or bytes
HASH_OFFSET, HASH_PRIME, HASH_MASK = 2166136261, 16777619, 0xFFFFFFFF
_DOUBLE, _DOUBLE_SIZE = 0x29, 9
_SECONDS, _SECONDS_SIZE = 0x08, 6
_NULL = 0x98  # of an explicit null's two bytes; the usual null is empty
_NAN = 0x7FF8000000000000

_ENDS = "int64(uint8[::1],int64,int64,int64[::1])"
_READ = (
    "int64(uint8[::1],uint8[::1],int64[::1],int32[::1],int64,int64,"
    "uint64[:,::1],float64[:,::1],int64[:,:,::1])"
)


@compiled(_ENDS)
def reply_ends(received: _Bytes, size: int, at: np.int64, ends: _I64) -> int:
    """Find where replies end, in the protocol of Redis (RESP2 and RESP3).

    Args:
        received: What came, in its first `size` bytes.
        size: How much that is.
        at: Where a reply begins.
        ends: Filled in for replies that are whole.

    Returns:
        How many are whole before the first that is not, and before a push, which is none unless
        it is what comes first; -1 where it is no such protocol.
    """
    for found in range(ends.shape[0]):
        if found and at < size and received[at] == _PUSH:
            return found
        parts = np.int64(1)
        while parts > 0:
            if at >= size:
                return found
            kind = received[at]
            at += 1
            is_negative, number = False, np.int64(0)
            while at < size and received[at] != _END:
                if kind in (_ARRAY, _SET, _PUSH, _MAP, _BULK, _TEXT):
                    digit = received[at]
                    if digit == _MINUS:
                        is_negative = True
                    elif digit < _ZERO or digit > _NINE or number > _MOST:
                        return -1
                    else:
                        number = 10 * number + np.int64(digit) - _ZERO
                at += 1
            at += _LINE
            parts -= 1
            if kind == _MAP:
                parts += 2 * number
            elif kind in (_ARRAY, _SET, _PUSH):
                if not is_negative:
                    parts += number
            elif kind in (_BULK, _TEXT):
                if not is_negative:
                    at += number + _LINE
                    if at <= size and received[at - _LINE] != _END:
                        return -1
            elif kind not in _LINES:
                return -1
            if at > size:
                return found
        ends[found] = at
    return ends.shape[0]


@compiled(_READ)
def read_rows(
    replies: _Bytes, names: _Bytes, name_bounds: _I64, slots: NDArray[np.int32],
    texts: int, numbers: int, bits: NDArray[np.uint64], times: FloatArray, spans: _I64,
) -> int:  # fmt: skip
    """Pick wanted fields of whole rows and decode the usual kinds of values.

    Args:
        replies: Replies to HGETALL, one after the other, all whole.
        names: The wanted fields' names, one after the other: texts, numbers, times.
        name_bounds: Where each begins, and the end.
        slots: A hash table of them, see `serving.stored_rows`.
        texts: How many are texts.
        numbers: How many are numbers.
        bits: Filled in: numbers as the bits of doubles, shape (n, numbers); NaN where none is.
        times: Filled in: epoch seconds, shape (n, times); NaN where there is none.
        spans: Filled in: where each field's value is, shape (n, fields, 2); -1 where absent.

    Returns:
        How many numbers and times are of another kind, which the caller decodes by their spans; -1
        where a reply is no row.
    """
    others, at, mask = 0, np.int64(0), np.uint32(slots.shape[0] - 1)
    for row in range(bits.shape[0]):
        bits[row] = _NAN
        times[row] = np.nan
        spans[row] = -1
        is_map = replies[at] == _MAP
        if not is_map and replies[at] != _ARRAY:
            return -1
        left = np.int64(0)
        at += 1
        while replies[at] != _END:
            left = 10 * left + np.int64(replies[at]) - _ZERO
            at += 1
        at += _LINE
        left *= 2 if is_map else 1
        wanted = -1
        for part in range(left):
            if replies[at] != _BULK:
                return -1
            size = np.int64(0)
            at += 1
            while replies[at] != _END:
                size = 10 * size + np.int64(replies[at]) - _ZERO
                at += 1
            if size < 0:  # a null, which no row has; the next would be looked for before this one
                return -1
            first = at + _LINE
            last = first + size
            at = last + _LINE
            if part & 1 == 0:  # a field's name
                hashed = np.uint32(HASH_OFFSET)
                for place in range(first, last):
                    hashed = np.uint32(
                        (np.uint64(hashed ^ np.uint32(replies[place])) * np.uint64(HASH_PRIME))
                        & np.uint64(HASH_MASK)
                    )
                slot = hashed & mask
                wanted = slots[slot]
                while wanted >= 0:
                    start = name_bounds[wanted]
                    is_it = name_bounds[wanted + 1] - start == size
                    for place in range(size if is_it else 0):
                        is_it &= names[start + place] == replies[first + place]
                    if is_it:
                        break
                    slot = (slot + np.uint32(1)) & mask
                    wanted = slots[slot]
                continue
            if wanted < 0:
                continue
            spans[row, wanted, 0], spans[row, wanted, 1] = first, last
            if wanted < texts:
                continue
            if wanted < texts + numbers:
                if size == _DOUBLE_SIZE and replies[first] == _DOUBLE:
                    value = np.uint64(0)
                    for place in range(8):
                        value |= np.uint64(replies[first + 1 + place]) << np.uint64(8 * place)
                    bits[row, wanted - texts] = value
                elif size > 0 and not (size == 2 and replies[first] == _NULL):
                    others += 1
            elif size == _SECONDS_SIZE and replies[first] == _SECONDS:
                seconds, is_one = np.int64(0), True
                for place in range(5):
                    seconds |= np.int64(replies[first + 1 + place] & 0x7F) << (7 * place)
                    is_one &= place == 4 or replies[first + 1 + place] >= 0x80
                if is_one:
                    times[row, wanted - texts - numbers] = seconds
                else:  # a small number of seconds, and nanoseconds
                    others += 1
            else:
                others += 1
    return others
