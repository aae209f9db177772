from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo import schemas
from feature_repo.transformations.declared import names
from feature_repo.transformations.knowledge import known_versions
from feature_repo.transformations.titles import WORD_COUNTS, similarity_to_channel
from feature_repo.transformations.track_record import TRACK_RECORD_FEATURES
from ingestion.feature_rows import (
    feature_rows,
    performance_rows,
    profile_rows,
    track_record_rows,
)
from tests.exactness import bits, differing, few, quick
from tests.ingestion.drawn_worlds import AS_OF, SNAPSHOTS, VERSION, WORLDS, key
from tests.ingestion.slow_track_record import slow_similarity, slow_track_record
from tests.worlds import (
    DAY,
    HOUR,
    NOON,
    World,
    channel_ids,
    channel_look,
    small_world,
    snapshot,
    version,
    video_ids,
    world,
)


def newest_known(table, as_of):
    """Give each entity's newest row known at a moment, as Feast joins it."""
    newest = {}
    for row in sorted(
        table.to_pylist(), key=lambda r: (r["event_timestamp"], r["created_timestamp"])
    ):
        if row["event_timestamp"] <= as_of and row["created_timestamp"] <= as_of:
            newest[row[table.column_names[0]]] = row
    return newest


def newest_computed(table):
    """Give each entity's newest row of all."""
    return newest_known(table, NOON + 10_000 * DAY)


def exact(rows):
    """Turn nulls into NaN and moments into numbers, so that rows compare to the bit."""
    return {
        entity: {name: _number(value) for name, value in row.items()}
        for entity, row in rows.items()
    }


def _number(value):
    if value is None:
        return np.nan
    return value.timestamp() if hasattr(value, "timestamp") else value


def assert_same_rows(actual, expected):
    actual, expected = exact(actual), exact(expected)
    assert set(actual) == set(expected)
    for entity, row in expected.items():
        assert differing(actual[entity], row) == set(), entity


@given(SNAPSHOTS, AS_OF)
@quick
def test_performance_known_at_a_moment_needs_nothing_observed_or_ingested_later(rows, as_of):
    observed = world(snapshots=rows)
    known = performance_rows(observed.known_at(as_of).snapshots)
    assert_same_rows(
        newest_known(performance_rows(observed.snapshots), as_of), newest_computed(known)
    )


@given(WORLDS, AS_OF)
@quick
def test_a_track_record_known_at_a_moment_needs_nothing_observed_or_ingested_later(observed, as_of):
    known = track_record_rows(*observed.known_at(as_of))
    assert_same_rows(newest_known(track_record_rows(*observed), as_of), newest_computed(known))


@given(WORLDS, AS_OF)
@quick
def test_a_track_record_is_what_plain_python_makes_of_the_rows_then_known(observed, as_of):
    known = observed.known_at(as_of)
    for channel_id, row in newest_known(track_record_rows(*observed), as_of).items():
        expected = slow_track_record(known, channel_id, row["event_timestamp"])
        assert set(expected) == set(names(TRACK_RECORD_FEATURES))
        features = exact({"": {name: row[name] for name in expected}})[""]
        assert differing(features, expected) == set(), channel_id


@given(st.lists(VERSION, min_size=1, max_size=14, unique_by=lambda row: key(row)[:2]))
@quick
def test_a_title_is_held_against_the_titles_known_with_it(versions):
    observed = world(versions)
    told = profile_rows(observed.metadata, observed.channels).to_pylist()
    by_key = {(row["video_id"], row["event_timestamp"]): row for row in told}
    for one in versions:
        row = by_key[one["video_id"], one["observed_at"]]
        known = observed.known_at(one["observed_at"])
        late = [v for v in versions if v["observed_at"] <= one["observed_at"] < v["ingested_at"]]
        expected = slow_similarity(known.with_rows(world(late)), one)
        assert bits(exact({"": row})[""]["title_similarity_to_channel"]) == bits(expected)


@given(st.lists(VERSION, min_size=1, max_size=14, unique_by=lambda row: key(row)[:2]), AS_OF)
@quick
def test_a_profile_known_at_a_moment_needs_nothing_observed_or_ingested_later(versions, as_of):
    observed = world(versions)
    known = observed.known_at(as_of)
    assert_same_rows(
        newest_known(profile_rows(observed.metadata, observed.channels), as_of),
        newest_computed(profile_rows(known.metadata, known.channels)),
    )


def test_a_video_is_likened_to_its_channel_as_its_draft_was_before_it_was_seen():
    observed = small_world()
    records = track_record_rows(*observed).to_pylist()
    told, seen = profile_rows(observed.metadata, observed.channels).to_pylist(), set()
    likened = []
    for row in sorted(told, key=lambda row: row["event_timestamp"]):
        if (row["channel_id"], row["video_id"]) in seen:
            continue
        seen.add((row["channel_id"], row["video_id"]))
        before = [
            record
            for record in records
            if record["channel_id"] == row["channel_id"]
            and record["event_timestamp"] < row["event_timestamp"]
            and record["created_timestamp"] <= row["created_timestamp"]
        ]
        last = max(
            before,
            key=lambda record: (record["event_timestamp"], record["created_timestamp"]),
            default=dict.fromkeys((*WORD_COUNTS, "channel_videos_seen")),
        )
        channel = {
            name: np.array([np.nan if last[name] is None else last[name]])
            for name in (*WORD_COUNTS, "channel_videos_seen")
        }
        (title,) = (
            version["title"]
            for version in observed.metadata.to_pylist()
            if (version["video_id"], version["observed_at"])
            == (row["video_id"], row["event_timestamp"])
        )
        (drafted,) = similarity_to_channel([title], channel).values()
        likened.append(exact({"": row})[""]["title_similarity_to_channel"])
        assert bits(drafted) == bits(likened[-1]), row["video_id"]
    assert len(likened) > 30
    assert np.isfinite(likened).mean() > 0.5


def test_a_track_record_does_not_depend_on_the_order_of_rows():
    """Of two videos first seen at the same moment the older one comes first."""
    seen = NOON + 3 * DAY
    versions = [
        version(name, seen, "UC1", published_at=NOON + days * DAY)
        for name, days in (("a", 2), ("b", 0), ("c", 0.5), ("d", 2))
    ]
    looks = [snapshot(told["video_id"], seen, 1000) for told in versions]
    rows = [
        track_record_rows(*world(versions[::step], looks[::back])).to_pylist()
        for step in (1, -1)
        for back in (1, -1)
    ]
    assert rows[0][-1]["channel_days_between_uploads"] == 1.0  # half a day, a day and a half
    assert rows[1:] == rows[:1] * 3


def test_only_the_last_twenty_videos_of_a_channel_count():
    random = np.random.default_rng(3)
    versions, looks = [], []
    for number in range(45):
        published = NOON + number * DAY
        seen = published + random.uniform(0.2, 5) * DAY
        duration = float(random.choice([30, 400]))
        told = {"published_at": published, "duration_seconds": duration}
        versions.append(version(f"v{number}", seen, "UC1", **told))
        for _ in range(3):
            looks.append(snapshot(f"v{number}", seen, int(10 ** random.uniform(1, 6))))
            seen += random.uniform(0.2, 3) * DAY
    observed = world(versions, looks)
    rows = track_record_rows(*observed).to_pylist()
    assert len(rows) == len({look["observed_at"] for look in looks})
    for row in rows[::4]:
        expected = slow_track_record(observed, "UC1", row["event_timestamp"])
        features = exact({"": {name: row[name] for name in expected}})[""]
        assert differing(features, expected) == set(), row["event_timestamp"]


@given(WORLDS)
@few
def test_a_feature_row_is_named_once_by_its_key(observed):
    for table in feature_rows(*observed).values():
        keys = table.select(table.column_names[:3]).to_pylist()
        assert len(keys) == len({tuple(row.values()) for row in keys})


@given(SNAPSHOTS)
@few
def test_a_row_was_created_when_the_last_of_its_sources_arrived(rows):
    for made in performance_rows(world(snapshots=rows).snapshots).to_pylist():
        used = [
            row["ingested_at"]
            for row in rows
            if row["video_id"] == made["video_id"]
            and row["observed_at"] <= made["event_timestamp"]
            and row["ingested_at"] <= made["created_timestamp"]
        ]
        assert made["created_timestamp"] == max(used)


@given(WORLDS, st.randoms())
@few
def test_the_order_of_the_rows_does_not_matter(observed, random):
    def shuffled(table):
        return table.take(pa.array(random.sample(range(len(table)), len(table)), pa.int64()))

    rows, others = feature_rows(*observed), feature_rows(*map(shuffled, observed))
    for name, table in rows.items():
        order = [(column, "ascending") for column in table.column_names[:3]]
        assert others[name].sort_by(order).equals(table.sort_by(order)), name


def test_rows_that_come_in_the_order_they_were_observed_in_make_one_version_each():
    moments = np.arange(5.0)
    known = known_versions(np.zeros(5, dtype=np.int64), moments, moments + 1)
    assert known.rows.tolist() == [0, 1, 2, 3, 4]
    assert set(known.entity.tolist()) == {0}


def test_a_late_row_makes_a_new_version_of_every_later_event():
    looks = [snapshot("v1", NOON + n * DAY, 10**n) for n in (1, 2, 3)]
    late = snapshot("v1", NOON, 1, ingested_at=NOON + 4 * DAY)
    rows = performance_rows(world(snapshots=[*looks, late]).snapshots).to_pylist()
    told = [(r["event_timestamp"], r["created_timestamp"], r["observation_count"]) for r in rows]
    assert sorted(told) == [
        (NOON, NOON + 4 * DAY, 1),
        *((NOON + n * DAY, created, count)
          for n in (1, 2, 3)
          for created, count in ((NOON + n * DAY, n), (NOON + 4 * DAY, n + 1))),
    ]  # fmt: skip


def test_a_correction_counts_from_its_arrival_and_not_before():
    right = snapshot("v1", NOON, 200, ingested_at=NOON + DAY)
    rows = performance_rows(world(snapshots=[snapshot("v1", NOON, 100), right]).snapshots)
    assert newest_known(rows, NOON + DAY - HOUR)["v1"]["view_count"] == 100
    assert newest_known(rows, NOON + DAY)["v1"]["view_count"] == 200


def test_two_videos_looked_at_within_a_millisecond_do_not_see_each_other_early():
    moments = [NOON, NOON + timedelta(microseconds=400)]
    published = NOON - 90 * DAY  # long gone from the uploads of the last 30 days
    observed = world(
        [
            version(f"v{n}", moment, "UC1", published_at=published)
            for n, moment in enumerate(moments)
        ],
        [snapshot(f"v{n}", moment, 10**n) for n, moment in enumerate(moments)],
    )
    rows = track_record_rows(*observed)
    assert rows["channel_first_log10_views"][0].as_py() == np.log10(2.0)
    assert rows["channel_videos_seen"].to_pylist() == [1, 2]
    assert rows["channel_uploads_30d"].to_pylist() == [0, 0]


def test_a_count_that_no_float_holds_exactly_is_rounded_and_stops_nothing():
    largest = 10**18 - 1  # of as many digits as are read from an answer
    observed = world(
        [version("v", NOON, "UC1")],
        [snapshot("v", NOON, largest)],
        [channel_look("UC1", NOON, 10, view_count=largest)],
    )
    built = feature_rows(*observed)
    assert built["video_performance"]["view_count"].to_pylist() == [1e18]
    assert built["channel_track_record"]["channel_view_count"].to_pylist() == [1e18]


def test_a_video_belongs_to_the_channel_it_was_then_in():
    observed = world(
        [version("v1", NOON, "UC1"), version("v1", NOON + 2 * DAY, "UC2")],
        [snapshot("v1", NOON + n * DAY, 10**n) for n in (0, 1, 2, 3)],
    )
    rows = newest_computed(track_record_rows(*observed))
    assert rows["UC1"]["event_timestamp"] == NOON + DAY
    assert rows["UC2"]["channel_first_log10_views"] == np.log10(101.0)


def test_a_look_before_anything_is_known_of_the_video_tells_nothing_of_a_channel():
    observed = world([version("v1", NOON, "UC1")], [snapshot("v1", NOON - HOUR, 5)])
    assert len(track_record_rows(*observed)) == 0


@pytest.mark.parametrize(
    "observed",
    [
        world(),
        world(snapshots=[snapshot("v1", NOON, 5)]),
        world(metadata=[version("v1", NOON, "UC1")]),
        world(channels=[channel_look("UC1", NOON, 5)]),
    ],
    ids=["nothing", "snapshots only", "metadata only", "channels only"],
)
def test_a_world_with_tables_still_empty_has_the_rows_it_can_have(observed):
    rows = feature_rows(*observed)
    assert len(rows["video_profile"]) == len(observed.metadata)
    assert len(rows["video_performance"]) == len(observed.snapshots)
    assert len(rows["channel_track_record"]) == len(observed.channels)


def test_a_channel_never_looked_at_itself_has_a_record_without_an_audience():
    observed = small_world()
    last = newest_computed(track_record_rows(*observed))[channel_ids()[-1]]
    assert last["channel_videos_seen"] > 0
    assert last["channel_subscribers"] is None
    assert last["are_subscribers_hidden"] is None


def test_feature_rows_have_the_schemas_of_their_tables():
    for name, table in feature_rows(*small_world()).items():
        assert table.schema.equals(schemas.FEATURE_TABLES[name])
        for column in table.columns:
            assert (
                not pa.types.is_floating(column.type) or not column.is_nan().to_numpy(False).any()
            )


def test_a_stream_of_length_nought_has_no_duration():
    rows = profile_rows(
        world([version("v1", NOON, "UC1", duration_seconds=0.0)]).metadata, world().channels
    )
    assert rows["duration_seconds"].to_pylist() == [None]
    assert rows["short_probability"].to_pylist() == [None]


def test_a_profile_row_carries_what_was_known_of_the_video_and_when():
    observed = small_world()
    rows = profile_rows(observed.metadata, observed.channels)
    assert set(rows["video_id"].to_pylist()) == set(video_ids())
    assert rows["event_timestamp"].equals(observed.metadata["observed_at"])
    assert rows["created_timestamp"].equals(observed.metadata["ingested_at"])
    assert rows["channel_id"].equals(observed.metadata["channel_id"])


def test_a_small_world_has_late_rows_and_corrections_to_test_with():
    observed: World = small_world()
    rows = performance_rows(observed.snapshots)
    assert len(rows) > len(
        set(zip(*(rows[name].to_pylist() for name in rows.column_names[:2]), strict=True))
    )
