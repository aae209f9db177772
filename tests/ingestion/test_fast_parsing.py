"""Answers read as columns say what answers read item by item say, or are left to be read so."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion import tables
from ingestion.errors import UnparsableItem
from ingestion.fast_parsing import read_statistics
from ingestion.landed import STATS, LandedResponse
from ingestion.parsing import parse_video
from ingestion.tables import Provenance

NOON = datetime(2026, 8, 26, 12, tzinfo=UTC)
COUNT = st.one_of(
    st.integers(0, 10**12).map(str),
    st.sampled_from(["-3", "1e6", "", "0", "9" * 18, "9" * 19, " 1", "12\n", 7, 1.5, True, None]),
)
DURATION = st.sampled_from(["15s", "P1DT2H", "PT0S", "PT3M", "185s", "1 hour", "", None, 12, "P"])
ID = st.sampled_from(["abcdefghij1", "abcdefghij2", "-_-_-_-_-_1", "é", "", "\ud83d", None, 3])
ITEM = st.fixed_dictionaries(
    {"kind": st.just("youtube#videoStats")},
    optional={
        "id": ID,
        "statistics": st.fixed_dictionaries(
            {}, optional={name: COUNT for name in ("viewCount", "likeCount", "commentCount")}
        )
        | st.sampled_from(["none", [], None]),
        "contentDetails": st.fixed_dictionaries({}, optional={"duration": DURATION}),
        "etag": st.text(max_size=5),
        "snippet": st.just({"title": 'no "id": here \n'}),
    },
)
PLAIN = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["abcdefghij1", "abcdefghij2"]),
        "statistics": st.fixed_dictionaries(
            {"viewCount": st.integers(0, 10**17).map(str)},
            optional={"likeCount": st.integers(0, 10**9).map(str)},
        ),
    },
    optional={"contentDetails": st.sampled_from([{"duration": "15s"}, {"duration": "PT10M"}])},
)
ANSWER = st.fixed_dictionaries(
    {"kind": st.just(STATS), "items": st.lists(PLAIN, max_size=4) | st.lists(ITEM, max_size=4)}
)


def _response(number, content):
    at = NOON + timedelta(hours=12 * number)  # the definition of a view changes among them
    return LandedResponse(f"ref{number}", content, at, at + timedelta(seconds=2), "real")


def _item_by_item(response):
    """What `parsing` makes of an answer; null where it refuses something of it."""
    origin = Provenance(response.ingested_at, response.world, response.raw_ref, NOON)
    try:
        read = [parse_video(item, response.observed_at)[1] for item in response.body["items"]]
    except (UnparsableItem, AttributeError):
        return None
    return tables.video_snapshots([(snapshot, origin) for snapshot in read])


@settings(deadline=None, max_examples=200)
@given(answers=st.lists(ANSWER, max_size=6), indent=st.sampled_from([None, 2]))
def test_columns_say_what_items_say(answers, indent):
    responses = [
        _response(n, json.dumps(answer, indent=indent).encode()) for n, answer in enumerate(answers)
    ]
    table, sources = read_statistics(responses, NOON)
    for number, response in enumerate(responses):
        rows = table.filter(pa.array(sources == number))
        if rows.num_rows:
            assert rows.combine_chunks().equals(_item_by_item(response))


def test_sound_answers_are_read_as_columns_beside_unsound_ones():
    sound = {"id": "abcdefghij1", "statistics": {"viewCount": "5"}}
    bodies = [
        {"kind": STATS, "items": [sound, sound]},
        {"kind": STATS, "items": [{"id": "abcdefghij2", "statistics": {"viewCount": 5}}]},
        {"kind": STATS, "items": []},
        {"kind": STATS},
        {"kind": STATS, "items": [sound | {"contentDetails": {"duration": "15s"}}]},
        {"kind": "youtube#videoListResponse", "items": [sound]},
    ]
    responses = [_response(n, json.dumps(body).encode()) for n, body in enumerate(bodies)]
    responses.append(_response(6, responses[0].content[:-9]))
    table, sources = read_statistics(responses, NOON)
    assert np.unique(sources).tolist() == [0, 4]
    assert table["view_count"].to_pylist() == [5, 5, 5]
    assert table["raw_ref"].to_pylist() == ["ref0", "ref0", "ref4"]
