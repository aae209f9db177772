"""Answers of statistics become columns at once: what most of the traffic is, a tenth of the cost.

Only what is plainly sound is read here; an answer with anything unusual in it goes item by item
through `parsing`, whose results these are equal to.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json
from numpy.typing import NDArray

from feature_repo.schemas import INSTANT, VIDEO_SNAPSHOTS
from feature_repo.segments import FORMATS, video_format, view_definition
from ingestion.landed import STATS, LandedResponse, kind_of
from ingestion.parsing import duration_seconds

_TEXT = pa.string()
_COUNTS = pa.struct([("viewCount", _TEXT), ("likeCount", _TEXT), ("commentCount", _TEXT)])
_ITEM = pa.struct(
    [
        ("id", _TEXT),
        ("contentDetails", pa.struct([("duration", _TEXT)])),
        ("statistics", _COUNTS),
    ]
)
_ANSWER = pa.schema([("kind", _TEXT), ("items", pa.list_(_ITEM))])
_READING = pa_json.ParseOptions(
    explicit_schema=_ANSWER, unexpected_field_behavior="ignore", newlines_in_values=True
)
# As many digits as surely fit; signs and anything else go the slow way.
_PLAIN_NUMBER = r"^[0-9]{1,18}\z"

IntArray = NDArray[np.int64]
# Rows, and the number of the answer that each is of.
_Read = tuple[pa.Table, IntArray]


class _Unusual(Exception):
    """Something that has to be read item by item."""


def read_statistics(responses: Sequence[LandedResponse], loaded_at: datetime) -> _Read:
    """Read the answers of `videos.batchGetStats` that are plainly sound in form.

    Returns:
        VIDEO_SNAPSHOTS, not validated yet, and the number of the answer that each row is of.
        Answers without rows here are to be read item by item.
    """
    plain = [n for n, r in enumerate(responses) if _is_plain(r.content)]
    read = _read_together(plain, responses, loaded_at)
    if not read:
        return VIDEO_SNAPSHOTS.empty_table(), np.empty(0, np.int64)
    return pa.concat_tables(t for t, _ in read), np.concatenate([sources for _, sources in read])


def _is_plain(content: bytes) -> bool:
    # What is null is told from what is absent by `parsing` alone.
    return kind_of(content) == STATS and b"null" not in content


def _read_together(
    numbers: Sequence[int], responses: Sequence[LandedResponse], loaded_at: datetime
) -> list[_Read]:
    """Read answers together; where one is unusual, its halves, until it stands alone."""
    if not numbers:
        return []
    try:
        table, rows = _table([responses[n] for n in numbers], loaded_at)
    except _Unusual:
        if len(numbers) == 1:
            return []
        half = len(numbers) // 2
        parts = (numbers[:half], numbers[half:])
        return [one for part in parts for one in _read_together(part, responses, loaded_at)]
    return [(table, np.repeat(np.array(numbers, np.int64), rows))]


def _table(of: Sequence[LandedResponse], loaded_at: datetime) -> tuple[pa.Table, IntArray]:
    """Give the rows of some answers, and how many each has."""
    items, rows = _items(of)
    answer = np.repeat(np.arange(len(of)), rows)
    formats = _format_numbers(pc.struct_field(items, [1, 0]))
    definitions = pa.array([view_definition(f, r.observed_at) for r in of for f in FORMATS])
    views, likes, comments = (_integers(pc.struct_field(items, [2, n])) for n in range(3))
    per_answer = {
        "observed_at": pa.array([r.observed_at for r in of], INSTANT),
        "ingested_at": pa.array([r.ingested_at for r in of], INSTANT),
        "world": pa.array([r.world for r in of], _TEXT),
        "raw_ref": pa.array([r.raw_ref for r in of], _TEXT),
        "loaded_at": pa.array([loaded_at] * len(of), INSTANT),
    }
    made = {
        "video_id": pc.struct_field(items, 0),
        **{name: values.take(pa.array(answer)) for name, values in per_answer.items()},
        "view_count": views,
        "like_count": likes,
        "comment_count": comments,
        "live_broadcast_content": pa.nulls(len(items), _TEXT),
        "format": pa.array(FORMATS).take(pa.array(formats)),
        "view_definition": definitions.take(pa.array(answer * len(FORMATS) + formats)),
    }
    if made["video_id"].null_count:
        raise _Unusual
    return pa.table([made[field.name] for field in VIDEO_SNAPSHOTS], schema=VIDEO_SNAPSHOTS), rows


def _items(of: Sequence[LandedResponse]) -> tuple[pa.StructArray, IntArray]:
    """Parse answers in one go; give their items, and how many each has."""
    content = b"\n".join(response.content for response in of)
    # One block, on this thread: handing it to others costs more than they save.
    options = pa_json.ReadOptions(use_threads=False, block_size=max(len(content), 1))
    try:
        answers = pa_json.read_json(pa.BufferReader(content), options, _READING)
    except pa.ArrowException as error:
        raise _Unusual from error
    if len(answers) != len(of) or pc.all(pc.equal(answers["kind"], STATS)).as_py() is not True:
        raise _Unusual
    lists = answers["items"].combine_chunks()
    items = lists.flatten()
    if items.null_count:
        raise _Unusual
    return items, pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)


def _integers(text: pa.Array) -> pa.Array:
    if pc.all(pc.match_substring_regex(text, _PLAIN_NUMBER), min_count=0).as_py() is False:
        raise _Unusual
    return text.cast(pa.int64())


def _format_numbers(lengths: pa.Array) -> IntArray:
    """Give the place in FORMATS of videos of these lengths."""
    distinct = lengths.dictionary_encode("encode")
    numbers = [FORMATS.index(_format(length)) for length in distinct.dictionary.to_pylist()]
    return np.array(numbers, np.int64)[distinct.indices.to_numpy()]


def _format(length: str | None) -> str:
    seconds = None if length is None else duration_seconds(length)
    if length is not None and seconds is None:
        raise _Unusual
    return video_format(seconds, None)
