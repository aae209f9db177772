"""Rows and replies of Redis read by kernels, beside hiredis and the layout's own decoders."""

import itertools
import math
import random

import hiredis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo import online_layout as layout
from serving.online_features import EntityPlan
from serving.redis_kernel import reply_ends
from serving.stored_rows import RowReader

# Some as long as a double is.
WHOLE = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(2**49, 2**56 - 1))
NUMBERS = st.one_of(
    st.none(), st.just(b""), st.just(b"\x98\x01"),
    st.floats(width=64).map(lambda value: layout.encode_value(value, "double")),
    st.floats(width=32).map(lambda value: layout.encode_value(value, "float")),
    WHOLE.map(lambda value: layout.encode_value(value, "int64")),
    WHOLE.map(lambda value: layout.encode_value(value, "timestamp")),
    st.booleans().map(lambda value: layout.encode_value(value, "bool")),
)  # fmt: skip
TEXTS = st.one_of(
    st.none(), st.just(b""), st.text(max_size=200).map(lambda v: layout.encode_value(v, "string"))
)
TIMES = st.one_of(
    st.none(),
    st.builds(layout.encode_timestamp, st.integers(-(2**40), 2**40), st.integers(0, 999_999_999)),
    st.builds(layout.encode_timestamp, st.integers(0, 2**34), st.just(0)),
)


def resp(value: object) -> bytes:
    """Encode a reply as Redis does; an exception is an error, a str a simple string, a dict a map.

    Maps are of RESP3.
    """
    match value:
        case None:
            return b"$-1\r\n"
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case int():
            return b":%d\r\n" % value
        case str():
            return f"+{value}\r\n".encode()
        case hiredis.ReplyError():
            return f"-{value}\r\n".encode()
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(resp, value))
        case dict():
            parts = itertools.chain.from_iterable(value.items())
            return b"%%%d\r\n" % len(value) + b"".join(map(resp, parts))
    raise AssertionError(value)


def row(fields: dict[bytes, bytes]) -> bytes:
    return resp(list(itertools.chain.from_iterable(fields.items())))


def push(*parts: object) -> bytes:
    return b">%d\r\n" % len(parts) + b"".join(map(resp, parts))


def ends(received: bytes, count: int, at: int = 0) -> list[int]:
    found = np.zeros(count, np.int64)
    buffer = np.frombuffer(bytearray(received), np.uint8)
    whole = reply_ends(buffer, len(received), np.int64(at), found)
    return found[:whole].tolist() if whole >= 0 else [-1]


REPLIES = st.recursive(
    st.one_of(
        st.none(), st.binary(max_size=40), st.integers(-(10**9), 10**9),
        st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=9),
        st.just(hiredis.ReplyError("MOVED 1 127.0.0.1:7000")),
    ),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4), st.dictionaries(st.binary(max_size=5), parts, max_size=3)
    ),
)  # fmt: skip


@given(st.lists(REPLIES, max_size=5), st.data())
def test_replies_end_where_they_end_however_they_are_cut(
    replies: list[object], data: st.DataObject
) -> None:
    encoded = list(map(resp, replies))
    wanted, received = list(itertools.accumulate(map(len, encoded))), b"".join(encoded)
    assert ends(received, len(replies)) == wanted
    cut = data.draw(st.integers(0, len(received)))
    before = ends(received[:cut], len(replies)) if cut else []
    assert before == [end for end in wanted if end <= cut]
    rest = len(replies) - len(before)  # the search goes on where the last whole one ended
    assert before + ends(received, rest, before[-1] if before else 0) == wanted


@pytest.mark.parametrize(
    "received",
    [
        b"hello\r\n",
        b"$x\r\n",
        b"*2x\r\n",
        b"$3\r\nabcde\r\n",
        b"$" + b"9" * 20 + b"\r\n",
        b"?1\r\n",
    ],
)
def test_what_is_no_reply_is_refused(received: bytes) -> None:
    assert ends(received, 1) == [-1]


def test_what_is_told_in_other_kinds_of_one_line_ends_with_it() -> None:
    kinds = [b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(12345678901234567890\r\n", b"~1\r\n:5\r\n",
             b"=7\r\ntxt:abc\r\n"]  # fmt: skip
    assert ends(b"".join(kinds), len(kinds)) == list(itertools.accumulate(map(len, kinds)))


def test_a_push_is_no_reply_unless_it_is_what_comes_first() -> None:
    told, reply = push(b"invalidate", [b"key"]), resp(b"value")
    assert ends(reply + told + reply, 2) == [len(reply)]
    assert ends(told + reply, 1) == [len(told)]


PLAN = EntityPlan.of(
    "video_id", [("video_profile", f"n{at}") for at in range(5)] + [("video_performance", "m")],
    texts=(("video_profile", "channel_id"), ("video_profile", "world")),
)  # fmt: skip


@st.composite
def stored(draw: st.DrawFn) -> dict[bytes, bytes]:
    kinds = [TEXTS] * 2 + [NUMBERS] * 6 + [TIMES] * 2
    drawn = {field: draw(kind) for field, kind in zip(PLAN.fields, kinds, strict=True)}
    drawn |= draw(st.dictionaries(st.binary(max_size=6), st.binary(max_size=9), max_size=3))
    known = [(field, value) for field, value in drawn.items() if value is not None]
    return dict(draw(st.permutations(known)))


@given(st.lists(stored(), min_size=1, max_size=4))
def test_rows_are_read_as_the_layout_decodes_each_value(rows: list[dict[bytes, bytes]]) -> None:
    encoders = itertools.cycle([row, resp])  # as RESP2 and RESP3 tell them
    found = PLAN.reader.read(
        [encode(fields) for encode, fields in zip(encoders, rows, strict=False)]
    )
    for at, fields in enumerate(rows):
        values = [fields.get(field) for field in PLAN.fields]
        assert found.texts[at] == tuple(map(layout.decode_text, values[:2]))
        times = list(map(layout.decode_timestamp, values[8:]))
        assert np.array_equal(found.numbers[at], layout.decode_numbers(values[2:8]), equal_nan=True)
        assert np.array_equal(found.times[at], times, equal_nan=True)


def test_a_small_time_with_nanoseconds_is_not_read_as_whole_seconds_of_as_many_bytes() -> None:
    plan = EntityPlan.of("channel_id", [("view", "a")])
    for seconds, nanos in ((1_700_000_000, 0), (3_600, 1_000)):
        stamp = layout.encode_timestamp(seconds, nanos)
        assert len(stamp) == 6
        fields = {plan.fields[0]: layout.encode_value(1.0, "double"), plan.fields[1]: stamp}
        found = plan.reader.read([row(fields)])
        assert found.times == [[seconds + nanos / 1e9]]


def test_fields_are_found_in_any_order_with_some_absent_or_more() -> None:
    plan = EntityPlan.of("channel_id", [("view", "a"), ("view", "b")])
    numbers = {field: float(at) for at, field in enumerate((*plan.fields[:2], b"more"))}
    for count in range(len(numbers) + 1):
        for order in itertools.permutations(numbers, count):
            fields = {field: layout.encode_value(numbers[field], "double") for field in order}
            wanted = [numbers[f] if f in order else math.nan for f in plan.fields[:2]]
            found = plan.reader.read([row(fields)]).numbers
            assert np.array_equal(found, [wanted], equal_nan=True)


def test_names_that_fall_into_one_place_are_told_apart() -> None:
    chance = random.Random(7)
    names = [chance.randbytes(chance.choice((4, 4, 4, 7))) for _ in range(300)]
    reader = RowReader([], names, [])
    fields = {name: layout.encode_value(float(at), "double") for at, name in enumerate(names)}
    assert reader.read([row(fields)]).numbers.tolist() == [[float(at) for at in range(300)]]


def test_of_a_row_from_which_nothing_is_wanted_nothing_is_read() -> None:
    found = EntityPlan.of("channel_id", []).reader.read([row({b"field": b"value"}), row({})])
    assert (found.texts, found.numbers.shape, found.times) == ([(), ()], (2, 0), [[], []])


@pytest.mark.parametrize("reply", [resp("OK"), resp(1), resp([b"name", 5]), resp([b"name", None])])
def test_what_is_no_row_is_an_error(reply: bytes) -> None:
    with pytest.raises(layout.LayoutError):
        PLAN.reader.read([reply])


def test_a_text_where_a_number_belongs_is_an_error() -> None:
    with pytest.raises(layout.LayoutError):
        PLAN.reader.read([row({PLAN.fields[2]: layout.encode_value("five", "string")})])
