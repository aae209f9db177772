"""What a model sees online is what it saw in training, to the bit, for every feature."""

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import redis

from feature_repo import online_layout as layout
from feature_repo.clock import fixed_clock
from feature_repo.request_fields import draft_arrays
from feature_repo.statuses import STATUSES, status_of
from feature_repo.store import historical_statuses, read_source
from feature_repo.transformations.declared import names
from feature_repo.transformations.profile import DRAFT_FEATURES, draft_features
from feature_repo.transformations.region import region_numbers
from ingestion.feature_tables import build
from ingestion.landing import Landing
from ingestion.loading import load
from ingestion.materializing import built_window, materialize
from serving.online_features import ReadPlan, within_age
from tests.contracts.parity import (
    described_by_the_server,
    historical,
    online,
    read_directly,
    stored_features,
)
from tests.exactness import bits, differing
from tests.worlds import (
    DAY,
    DESCRIPTIONS,
    DURATIONS,
    NOON,
    TAGS,
    TITLES,
    channel_ids,
    forget,
    small_world,
    snapshot,
    store,
    version,
    video_ids,
    world,
)

VIDEOS, CHANNELS = [*video_ids("p"), "hidden", "unseen"], channel_ids("p")
# Later than every row, and one of them in the middle of a second.
MOMENTS = [NOON + 20 * DAY, NOON + 30 * DAY + timedelta(microseconds=734_567)]
REAL_DATA = Path(
    os.environ.get("FOREVIEW_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")
)

HIDDEN = world(
    [version("hidden", NOON - DAY, CHANNELS[4])],
    [snapshot("hidden", NOON - DAY, 0, like_count=None, comment_count=None)],
)


@pytest.fixture(scope="module")
def materialized(warehouse, feature_store):
    """A feature store with a small world in it, offline and online."""
    forget(warehouse)
    store(warehouse, small_world("p").with_rows(HIDDEN))
    build(warehouse)
    materialize(feature_store, built_window(warehouse))
    return feature_store


@pytest.fixture
def videos():
    """Every video with its channel, also where one or both were never seen."""
    homes = [*(CHANNELS[at % 5] for at in range(30)), CHANNELS[4], CHANNELS[0]]
    never_seen_both = [(VIDEOS[0], "UCx"), ("nobody", "UCx")]
    rows = [*zip(VIDEOS, homes, strict=True), *never_seen_both]
    return pd.DataFrame(rows, columns=["video_id", "channel_id"])


@pytest.fixture
def drafts():
    """Drafts with every kind of title, description, tags and duration; one of a new channel."""
    rows = [
        {
            "channel_id": [*CHANNELS, "UCx"][at % 6],
            "title": TITLES[at % len(TITLES)],
            "description": DESCRIPTIONS[at % len(DESCRIPTIONS)] or "",
            "tags": "\n".join(TAGS[at % len(TAGS)] or ()),
            "draft_category_id": [10.0, 0.0, 20.0][at % 3],
            "draft_duration_seconds": DURATIONS[at % len(DURATIONS)] or 0.0,
        }
        for at in range(40)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("as_of", MOMENTS, ids=["whole second", "part of a second"])
def test_a_published_video_has_the_same_features_in_history_and_online(as_of, materialized, videos):
    offline = historical(materialized, "published_v2", videos, as_of)
    assert differing(offline, online(materialized, "published_v2", videos, as_of)) == set()
    assert not [name for name, values in offline.items() if np.isnan(values).all()]


@pytest.mark.parametrize("days", [29.5, 45, 364.5, 400])
def test_what_is_beyond_its_age_limit_is_read_nowhere(days, materialized, videos, online_url):
    as_of = NOON + days * DAY
    offline = historical(materialized, "published_v2", videos, as_of)
    assert differing(offline, online(materialized, "published_v2", videos, as_of)) == set()
    assert np.isnan(offline["log10_views"]).any()
    assert np.isnan(offline["log10_views"]).all() == (days > 31)
    assert np.isnan(offline["channel_videos_seen"]).all() == (days > 366)
    assert np.isfinite(offline["title_length"]).any()
    plan = ReadPlan.of(stored_features(materialized))
    homes = dict(zip(videos["video_id"], videos["channel_id"], strict=True))
    read = read_directly(online_url, plan, VIDEOS)
    for vector in (within_age(plan, vector, as_of.timestamp()) for vector in read if vector):
        if vector.channel_id != homes[vector.video_id]:
            continue  # it moved: history was asked about the channel it came from
        row = VIDEOS.index(vector.video_id)
        for at, (_, name) in enumerate(plan.numbers):
            assert bits(vector.values[at]) == bits(offline[name][row]), (vector.video_id, name)


@pytest.mark.parametrize("days", [20, 29.5, 45, 364.5, 400])
def test_a_feature_has_the_same_status_in_history_and_online(
    days, materialized, videos, online_url
):
    as_of = NOON + days * DAY
    plan = ReadPlan.of(stored_features(materialized))
    read = read_directly(online_url, plan, list(videos["video_id"]))
    homes = [  # a video is read with the channel that is stored with it
        home if vector is None else vector.channel_id
        for home, vector in zip(videos["channel_id"], read, strict=True)
    ]
    rows = videos.assign(channel_id=homes, event_timestamp=as_of)
    service = materialized.get_feature_service("published_v2")
    told = historical_statuses(materialized, service, rows)
    for row, vector in enumerate(read):
        for at, (view, name) in enumerate(plan.numbers):
            if vector is None and view == "channel_track_record":
                continue  # the server knows no channel of a video that it never saw
            event = None if vector is None else vector.event_times[event_views(plan).index(view)]
            value = None if vector is None else vector.values[at]
            event = None if event is None or np.isnan(event) else event
            online_status = status_of(view, value, event, as_of.timestamp())
            assert told[name].iloc[row] == online_status, (row, view, name)
    assert set(np.unique(told.to_numpy())) == set(STATUSES)


def event_views(plan):
    """Name the views whose event times a vector holds, in their order."""
    return [*plan.video.views, *plan.channel.views]


@pytest.mark.parametrize("as_of", MOMENTS, ids=["whole second", "part of a second"])
def test_a_draft_has_the_same_features_in_history_and_online(as_of, materialized, drafts):
    offline = historical(materialized, "draft_v2", drafts, as_of)
    assert differing(offline, online(materialized, "draft_v2", drafts, as_of)) == set()
    assert not [name for name, values in offline.items() if np.isnan(values).all()]


def test_a_value_that_went_wrong_on_its_way_online_is_found_out(materialized, videos, online_url):
    key = layout.key_encoder("video_id")("hidden")
    field = layout.feature_field("video_performance", "likes_per_view")
    right = historical(materialized, "published_v2", videos, MOMENTS[0])
    with redis.Redis.from_url(online_url) as client:
        kept = client.hget(key, field)
        client.hset(key, field, layout.encode_value(0.0, "double"))  # hidden is not zero
        wrong = online(materialized, "published_v2", videos, MOMENTS[0])
        client.hset(key, field, kept)
    assert differing(right, wrong) == {"likes_per_view", "likes_per_view_by_channel"}


def test_one_video_alone_has_the_features_it_has_among_many(materialized, videos):
    together = online(materialized, "published_v2", videos, MOMENTS[1])
    for at in range(0, len(videos), 6):
        alone = online(materialized, "published_v2", videos.iloc[[at]], MOMENTS[1])
        assert differing(alone, {name: values[[at]] for name, values in together.items()}) == set()


def test_a_video_is_described_as_its_draft_was(materialized):
    """Nothing but what the creator wrote goes in: one definition, before and after publication."""
    metadata = small_world("p").metadata.to_pandas().drop_duplicates("video_id", keep="last")
    stored = {row["video_id"]: row for row in profiles(materialized)}
    fields = pd.DataFrame(
        {
            "title": metadata["title"],
            "description": metadata["description"],
            "tags": ["" if tags is None else "\n".join(tags) for tags in metadata["tags"]],
            "draft_category_id": metadata["category_id"].fillna(0.0),
            "draft_duration_seconds": metadata["duration_seconds"].fillna(0.0),
        }
    )
    published = np.array([moment.timestamp() for moment in metadata["published_at"]])
    country = region_numbers([country_then(row) for row in metadata.itertuples()])
    drafted = draft_features(*draft_arrays(fields), published, country)
    for name in names(DRAFT_FEATURES):
        kept = [stored[video_id][name] for video_id in metadata["video_id"]]
        assert np.array_equal(bits(kept), bits(drafted[name])), name


def country_then(version):
    """Give the country that a version's channel had stated when the version was known."""
    looks = small_world("p").channels.to_pylist()
    known = [
        look
        for look in looks
        if look["channel_id"] == version.channel_id
        and look["observed_at"] <= version.observed_at
        and look["ingested_at"] <= version.ingested_at
    ]
    return max(known, key=lambda look: look["observed_at"], default={}).get("country")


def profiles(feature_store):
    window = (NOON - 100 * DAY, NOON + 100 * DAY)
    table = read_source(feature_store, "video_profile", list(names(DRAFT_FEATURES)), window)
    rows = sorted(table.to_pylist(), key=lambda row: row["event_timestamp"])
    return [{n: np.nan if v is None else v for n, v in row.items()} for row in rows]


def test_the_server_reads_what_feasts_own_client_reads(materialized, videos, online_url):
    homes = {row.video_id: row.channel_id for row in videos.itertuples()}
    plan = ReadPlan.of(stored_features(materialized))
    vectors = read_directly(online_url, plan, list(homes))
    # A video is asked about with the channel that is stored with it.
    as_of = MOMENTS[0].timestamp()
    known = [within_age(plan, vector, as_of) for vector in vectors if vector is not None]
    rows = pd.DataFrame([{"video_id": v.video_id, "channel_id": v.channel_id} for v in known])
    told = online(materialized, "published_v2", rows, MOMENTS[0])
    read = {
        name: np.array([vector.values[at] for vector in known])
        for at, (_, name) in enumerate(plan.numbers)
    }
    assert differing(read, {name: told[name] for name in read}) == set()
    assert {vector.world for vector in known} == {"synthetic"}
    assert {homes[v.video_id] for v, h in zip(known, homes, strict=False) if h} >= set(CHANNELS)


def test_the_server_tells_a_video_it_never_saw_from_one_it_did(materialized, online_url):
    plan = ReadPlan.of(stored_features(materialized))
    seen, never = read_directly(online_url, plan, ["hidden", "nobody"])
    assert never is None
    assert seen.channel_id == CHANNELS[4]


@pytest.mark.full
def test_a_thousand_real_videos_and_drafts_have_the_same_features_everywhere(
    warehouse, feature_store, online_url, tmp_path
):
    if not (REAL_DATA / "snapshots.parquet").is_file():
        pytest.skip(f"no recorded data in {REAL_DATA}: parity on real videos is not shown")
    written = a_thousand_real_videos(tmp_path)
    rows = written[["video_id", "channel_id"]]
    forget(warehouse)
    landing = Landing(str(tmp_path / "landing"))
    load([tmp_path / "recorded"], warehouse, landing, "real", fixed_clock(NOON + 200 * DAY))
    build(warehouse)
    window = built_window(warehouse)
    plan, drafts = ReadPlan.of(stored_features(feature_store)), as_drafts(written)
    with redis.Redis.from_url(online_url) as client:
        for days in (200, 60, 3, 0):
            client.flushdb()
            as_of = window[1] - days * DAY + timedelta(hours=7, microseconds=1)
            # As the online store was then: without what was observed since.
            materialize(feature_store, (window[0], as_of + timedelta(microseconds=1)))
            offline = historical(feature_store, "published_v2", rows, as_of)
            assert differing(offline, online(feature_store, "published_v2", rows, as_of)) == set()
            read = read_directly(online_url, plan, list(rows["video_id"]))
            for row, vector in enumerate(read):
                if vector is None:
                    assert np.isnan(offline["title_length"][row])
                    continue
                values = within_age(plan, vector, as_of.timestamp()).values
                expected = [offline[name][row] for _, name in plan.numbers]
                assert np.array_equal(bits(values), bits(expected)), (as_of, vector.video_id)
            asked = historical(feature_store, "draft_v2", drafts, as_of)
            assert differing(asked, online(feature_store, "draft_v2", drafts, as_of)) == set()
            served = described_by_the_server(feature_store, drafts, as_of)
            assert differing(served, {name: asked[name] for name in served}) == set()
    assert 0.7 < np.isfinite(offline["log10_views"]).mean() < 0.9  # some are stale
    assert np.isfinite(asked["title_sentiment"]).any()
    assert np.isfinite(asked["title_similarity_to_channel"]).any()
    assert np.isfinite(asked["days_since_channel_upload"]).mean() > 0.9


def as_drafts(written):
    """Give what creators wrote of real videos as the fields of a draft; a duration is not known."""
    return pd.DataFrame(
        {
            "channel_id": written["channel_id"],
            "title": written["title"],
            "description": written["description"].fillna(""),
            "tags": written["tags"].fillna("").str.replace("|", "\n"),
            "draft_category_id": written["category_id"].astype(float).fillna(0.0),
            "draft_duration_seconds": 0.0,
        }
    )


def a_thousand_real_videos(directory):
    """Record a thousand videos, with all others of their channels, in a directory of their own.

    A fifth of them were last seen so long before the record's end that their counts are stale.
    """
    versions = pq.read_table(REAL_DATA / "video_versions.parquet")
    wanted = ["video_id", "channel_id", "last_observed_at", "title", "description", "tags"]
    last = versions.select([*wanted, "category_id"]).to_pandas()
    last = last.sort_values("last_observed_at").drop_duplicates("video_id", keep="last")
    seen = pd.to_datetime(last["last_observed_at"], utc=True)
    is_recent = seen > seen.max() - timedelta(days=20)
    parts = (
        last[is_recent].sample(800, random_state=11),
        last[~is_recent].sample(200, random_state=11),
    )
    chosen = pd.concat(parts)
    channels = pc.is_in(versions["channel_id"], value_set=pc.unique(pa.array(chosen["channel_id"])))
    family = versions.filter(channels)
    snapshots = pq.read_table(REAL_DATA / "snapshots.parquet")
    theirs = pc.is_in(snapshots["video_id"], value_set=pc.unique(family["video_id"]))
    recorded = directory / "recorded"
    recorded.mkdir()
    pq.write_table(family, recorded / "video_versions.parquet")
    pq.write_table(snapshots.filter(theirs), recorded / "snapshots.parquet")
    return chosen.reset_index(drop=True)
