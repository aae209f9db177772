"""Our reading and writing of Feast's Redis layout, against Feast's own functions."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from feast.infra.online_stores.helpers import _mmh3, _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Null, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from feature_repo import online_layout as layout

FIELD_OF_KIND = {
    "double": "double_val",
    "float": "float_val",
    "int64": "int64_val",
    "int32": "int32_val",
    "string": "string_val",
    "bytes": "bytes_val",
    "bool": "bool_val",
    "timestamp": "unix_timestamp_val",
}
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.one_of(
    st.tuples(st.just("double"), st.floats(allow_nan=False)),
    st.tuples(st.just("float"), st.floats(allow_nan=False, width=32)),
    st.tuples(st.just("int64"), INT64),
    st.tuples(st.just("int32"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just("string"), st.text(max_size=300)),
    st.tuples(st.just("bytes"), st.binary(max_size=300)),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("timestamp"), INT64),
)


@given(join_key=st.text(min_size=1), entity_id=st.text(), project=st.text())
def test_a_key_of_one_string_is_feasts(join_key, entity_id, project):
    feasts = EntityKey(join_keys=[join_key], entity_values=[Value(string_val=entity_id)])
    assert layout.key_encoder(join_key, project)(entity_id) == _redis_key(project, feasts)
    assert layout.entity_key({join_key: entity_id}, project) == _redis_key(project, feasts)


@given(ids=st.dictionaries(st.text(min_size=1), st.one_of(st.text(), INT64), max_size=4))
def test_a_key_of_many_parts_is_feasts(ids):
    values = [
        Value(string_val=value) if isinstance(value, str) else Value(int64_val=value)
        for value in ids.values()
    ]
    feasts = EntityKey(join_keys=list(ids), entity_values=values)
    assert layout.entity_key(ids, "foreview") == _redis_key("foreview", feasts)


@given(view=st.text(), feature=st.text())
def test_a_field_is_feasts(view, feature):
    assert layout.feature_field(view, feature) == _mmh3(f"{view}:{feature}")


@given(SCALARS)
def test_a_value_is_written_and_read_as_feast_does(scalar):
    kind, value = scalar
    feasts = Value(**{FIELD_OF_KIND[kind]: value}).SerializeToString()
    assert layout.encode_value(value, kind) == feasts
    assert layout.decode_value(feasts) == value


@pytest.mark.parametrize("kind", FIELD_OF_KIND)
def test_a_null_is_feasts(kind):
    assert layout.encode_value(None, kind) == Value().SerializeToString()


@pytest.mark.parametrize("data", [None, b"", Value(null_val=Null.NULL).SerializeToString()])
def test_absent_and_null_read_as_nothing(data):
    assert layout.decode_value(data) is None


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
def test_an_event_timestamp_is_written_as_feast_does(seconds, nanos):
    feasts = Timestamp(seconds=seconds, nanos=nanos).SerializeToString()
    assert layout.encode_timestamp(seconds, nanos) == feasts


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
@example(datetime(1970, 1, 1, 1, 0, 0, 1, tzinfo=UTC))  # as many bytes as whole seconds of today
def test_an_event_timestamp_is_read_to_the_microsecond(instant):
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    assert (
        datetime.fromtimestamp(layout.decode_timestamp(stamp.SerializeToString()), UTC) == instant
    )


def test_an_absent_event_timestamp_is_nan():
    assert math.isnan(layout.decode_timestamp(None))


NUMBERS = SCALARS.filter(lambda scalar: scalar[0] not in ("string", "bytes"))


@given(st.lists(st.one_of(st.none(), NUMBERS), max_size=40))
def test_many_numbers_are_read_as_each_alone(scalars):
    stored = [None if s is None else layout.encode_value(s[1], s[0]) for s in scalars]
    expected = [math.nan if s is None else float(s[1]) for s in scalars]
    np.testing.assert_array_equal(layout.decode_numbers(stored), expected)


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=40))
def test_doubles_are_read_exactly_with_nulls_as_nan(values):
    stored = [None if value is None else layout.encode_value(value, "double") for value in values]
    expected = [math.nan if value is None else value for value in values]
    np.testing.assert_array_equal(layout.decode_numbers(stored), expected)


@pytest.mark.parametrize("data", [b"\xff", b"\x29\x00", b"\x12\x05ab", b"\x12\x01\xff", b"\x20"])
def test_bytes_of_no_known_layout_are_refused(data):
    with pytest.raises(layout.LayoutError):
        layout.decode_value(data)


def test_a_text_where_a_number_belongs_is_refused():
    with pytest.raises(layout.LayoutError):
        layout.decode_numbers([layout.encode_value("ten", "string")])


def test_features_that_share_a_hash_field_are_refused():
    pair = _colliding_features()
    with pytest.raises(layout.LayoutError):
        layout.feature_fields([("view", name) for name in pair])


def _colliding_features() -> tuple[str, str]:
    seen: dict[bytes, str] = {}
    for number in range(1_000_000):
        field = layout.feature_field("view", str(number))
        if field in seen:
            return seen[field], str(number)
        seen[field] = str(number)
    raise AssertionError("no two of a million names share a 32-bit hash")
