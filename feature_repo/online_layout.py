"""Feast's layout of features in Redis (entity key version 3): keys, fields and values as bytes."""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import mmh3
import numpy as np
from numpy.typing import NDArray

PROJECT = "foreview"

# Which entity (its join key) the rows of a feature view belong to.
JOIN_KEY_OF_VIEW = {
    "video_profile": "video_id",
    "video_performance": "video_id",
    "channel_track_record": "channel_id",
}

Scalar = float | int | str | bytes | bool
Encoded = bytes | bytearray
ScalarKind = Literal["double", "float", "int64", "int32", "string", "bytes", "bool", "timestamp"]

_STRING_TYPE, _INT64_TYPE = 2, 4

# The first byte of an encoded ValueProto: field number << 3 | wire type.
_TAGS: dict[ScalarKind, bytes] = {
    "bytes": b"\x0a",
    "string": b"\x12",
    "int32": b"\x18",
    "int64": b"\x20",
    "double": b"\x29",
    "float": b"\x35",
    "bool": b"\x38",
    "timestamp": b"\x40",
}
_KIND_OF_TAG = {tag[0]: kind for kind, tag in _TAGS.items()}
_NULL_TAG = b"\x98\x01"  # field 19, an explicit null; the usual null is an empty message

# A tag and five bytes of seven bits: from 1978 to 3058.
_WHOLE_SECONDS_SIZE = 6

_DOUBLE = np.dtype([("tag", "u1"), ("value", "<f8")])
_NULL_DOUBLE = _TAGS["double"] + struct.pack("<d", float("nan"))


class LayoutError(ValueError):
    """Bytes in the online store are not what Feast's layout says, or a layout is ambiguous."""


def key_encoder(join_key: str, project: str = PROJECT) -> Callable[[str], bytes]:
    """Give the function that turns an entity's id, a string, into its Redis key."""
    name = join_key.encode()
    prefix = struct.pack("<III", 1, _STRING_TYPE, len(name)) + name
    prefix += struct.pack("<I", _STRING_TYPE)
    suffix = project.encode()
    length = struct.Struct("<I").pack

    def encode(entity_id: str) -> bytes:
        value = entity_id.encode()
        return b"".join((prefix, length(len(value)), value, suffix))

    return encode


def entity_key(join_keys: Mapping[str, str | int], project: str = PROJECT) -> bytes:
    """Give the Redis key of an entity with any number of join keys, strings or whole numbers."""
    names = sorted(join_keys)
    parts = [struct.pack("<I", len(names))]
    for name in names:
        encoded = name.encode()
        parts += [struct.pack("<II", _STRING_TYPE, len(encoded)), encoded]
    for name in names:
        value = join_keys[name]
        encoded = value.encode() if isinstance(value, str) else struct.pack("<q", value)
        kind = _STRING_TYPE if isinstance(value, str) else _INT64_TYPE
        parts += [struct.pack("<II", kind, len(encoded)), encoded]
    return b"".join([*parts, project.encode()])


def feature_field(view: str, feature: str) -> bytes:
    """Give the hash field of a feature: the murmur3 of `view:feature`, little endian."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def timestamp_field(view: str) -> bytes:
    """Give the hash field that holds the event timestamp of a view's row."""
    return f"_ts:{view}".encode()


def feature_fields(features: Sequence[tuple[str, str]]) -> tuple[bytes, ...]:
    """Give the fields of (view, feature) pairs, in order.

    Raises:
        LayoutError: Two of them share a field, so that one would be read as the other.
    """
    fields = tuple(feature_field(view, feature) for view, feature in features)
    taken: dict[bytes, tuple[str, str]] = {}
    for field, feature in zip(fields, features, strict=True):
        if taken.setdefault(field, feature) != feature:
            raise LayoutError(f"{taken[field]} and {feature} share the hash field {field.hex()}")
    return fields


def encode_value(value: Scalar | None, kind: ScalarKind) -> bytes:
    """Encode a scalar as Feast's ValueProto; None, and a NaN of a numeric kind, is the null."""
    if value is None or (isinstance(value, float) and value != value):  # NaN
        return b""
    tag = _TAGS[kind]
    if kind in ("string", "bytes"):
        encoded = value.encode() if isinstance(value, str) else value
        assert isinstance(encoded, bytes)  # the caller names the kind
        return tag + _encode_varint(len(encoded)) + encoded
    assert not isinstance(value, str | bytes)
    if kind == "double":
        return tag + struct.pack("<d", value)
    if kind == "float":
        return tag + struct.pack("<f", value)
    return tag + _encode_varint(int(value) & 0xFFFFFFFFFFFFFFFF)


def decode_value(data: Encoded | None) -> Scalar | None:
    """Decode a stored value; None for a null and for a field that is absent.

    Raises:
        LayoutError: The bytes are no ValueProto of a scalar.
    """
    if not data or data.startswith(_NULL_TAG):
        return None
    kind = _KIND_OF_TAG.get(data[0])
    try:
        return _decode_scalar(kind, data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise LayoutError(f"{data[:20]!r} is no scalar of Feast's layout") from error


def decode_text(data: Encoded | None) -> str | None:
    """Decode a stored text; None for a null and for a field that is absent.

    Raises:
        LayoutError: Something else is stored.
    """
    if data and data[:1] == _TAGS["string"] and data[1] == len(data) - 2 < 0x80:
        return data[2:].decode()
    value = decode_value(data)
    if value is None or isinstance(value, str):
        return value
    raise LayoutError(f"{value!r} is stored where a text is expected")


def decode_numbers(values: Sequence[Encoded | None]) -> NDArray[np.float64]:
    """Decode many stored numbers at once, shape (len(values),); NaN where null or absent.

    Doubles, the usual case, are decoded as one buffer; anything else one by one.
    """
    joined = b"".join([value or _NULL_DOUBLE for value in values])
    if len(joined) == _DOUBLE.itemsize * len(values):
        table = np.frombuffer(joined, _DOUBLE)
        if (table["tag"] == _NULL_DOUBLE[0]).all():
            return table["value"].copy()
    return np.array([_number(value) for value in values], dtype=np.float64)


def encode_timestamp(seconds: int, nanos: int) -> bytes:
    """Encode an instant as a protobuf Timestamp; zero parts are left out, as protobuf does."""
    encoded = b""
    if seconds:
        encoded += b"\x08" + _encode_varint(seconds & 0xFFFFFFFFFFFFFFFF)
    if nanos:
        encoded += b"\x10" + _encode_varint(nanos)
    return encoded


def decode_timestamp(data: Encoded | None) -> float:
    """Decode a stored event timestamp to epoch seconds; NaN where the row is absent."""
    if data is None:
        return float("nan")
    if len(data) == _WHOLE_SECONDS_SIZE and data[0] == 0x08:  # nearly all there are
        _, a, b, c, d, e = data
        if a & b & c & d & 0x80:  # one number, and not a small one with its nanoseconds
            return float(
                a & 0x7F | (b & 0x7F) << 7 | (c & 0x7F) << 14 | (d & 0x7F) << 21 | (e & 0x7F) << 28
            )
    # The division rounds once, so microseconds come back as the float nearest to them.
    return decode_nanos(data) / 1_000_000_000


def decode_nanos(data: Encoded) -> int:
    """Decode a stored event timestamp to epoch nanoseconds, exactly."""
    parts = {0x08: 0, 0x10: 0}
    at = 0
    while at < len(data):
        tag = data[at]
        parts[tag], at = _decode_varint(data, at + 1)
    return _signed(parts[0x08]) * 1_000_000_000 + parts[0x10]


def _number(data: Encoded | None) -> float:
    value = decode_value(data)
    if value is None:
        return float("nan")
    if isinstance(value, str | bytes):
        raise LayoutError(f"{value!r} is stored where a number is expected")
    return float(value)


def _decode_scalar(kind: ScalarKind | None, data: Encoded) -> Scalar:
    if kind == "double":
        return float(struct.unpack("<d", data[1:])[0])
    if kind == "float":
        return float(struct.unpack("<f", data[1:])[0])
    if kind in ("string", "bytes"):
        length, start = _decode_varint(data, 1)
        if start + length != len(data):
            raise LayoutError(f"{data[:20]!r} is cut short")
        return data[start:].decode() if kind == "string" else bytes(data[start:])
    if kind is None:
        raise LayoutError(f"{data[:20]!r} is no scalar of Feast's layout")
    value = _signed(_decode_varint(data, 1)[0])
    return bool(value) if kind == "bool" else value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _decode_varint(data: Encoded, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
