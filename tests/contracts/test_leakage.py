"""Nothing observed or ingested after the moment asked about changes any feature, through Feast."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ingestion.feature_tables import build
from tests.exactness import differing
from tests.worlds import (
    DAY,
    HOUR,
    NOON,
    channel_ids,
    channel_look,
    forget,
    small_world,
    snapshot,
    store,
    version,
    video_ids,
    world,
)

CUT = NOON - 10 * DAY
JUST_AFTER = CUT + timedelta(microseconds=1)
MOMENTS = [CUT - 20 * DAY, CUT - 3 * DAY, CUT - DAY / 3, CUT - HOUR, CUT]
VIDEOS, CHANNELS = video_ids(), channel_ids()

# A premiere that was announced, and seen again after it; what its creator wrote is the same.
PREMIERE = [
    version("premiere", CUT - 9 * DAY, CHANNELS[0], live_broadcast_content="upcoming"),
    version("premiere", CUT - 5 * DAY, CHANNELS[0], live_broadcast_content="none"),
]
# A video with a long and plain history, to plant things in.
PLAIN = [snapshot("plain", CUT - n * DAY, 1000 * (20 - n)) for n in range(12, 0, -1)]
PLAIN_VERSION = version("plain", CUT - 12 * DAY, CHANNELS[0], published_at=CUT - 13 * DAY)
# One seen at the age of a month: the oldest that a channel's normals are told for.
OLD_VERSION = version("old", CUT - 5 * DAY, CHANNELS[0], published_at=CUT - 40 * DAY)
OLD = [snapshot("old", CUT - 5 * DAY, 12_345)]
BEFORE = small_world().with_rows(world([*PREMIERE, PLAIN_VERSION, OLD_VERSION], [*PLAIN, *OLD]))


def late_row(arrival):
    return world(snapshots=[snapshot("plain", CUT - 36 * HOUR, 18_600, ingested_at=arrival)])


def correction(arrival):
    return world(snapshots=[PLAIN[-1] | {"view_count": 77_777, "ingested_at": arrival}])


def title_edit(arrival):
    return world(
        [PLAIN_VERSION | {"title": "Edited!", "observed_at": arrival, "ingested_at": arrival}]
    )


def late_title_edit(arrival):
    edit = {"title": "Edited before?", "observed_at": CUT - 2 * DAY, "ingested_at": arrival}
    return world([PLAIN_VERSION | edit])


def late_move_to_another_channel(arrival):
    moved = {"channel_id": CHANNELS[1], "published_at": CUT - 20 * DAY}
    late = {"observed_at": CUT - 5 * DAY, "ingested_at": arrival}
    return world([PLAIN_VERSION | moved | late])


def other_titles_of_the_same_moment(arrival):
    # Some of these have a smaller digest than the title that was known first, some a larger one.
    titles = [{"title": f"At the same moment {n}", "ingested_at": arrival} for n in range(6)]
    return world([PLAIN_VERSION | title for title in titles])


def late_edit_between_two_broadcast_states(arrival):
    edit = {"title": "Soon", "observed_at": CUT - 7 * DAY, "ingested_at": arrival}
    return world([PREMIERE[0] | edit])


def snapshots_to_come(arrival):
    return world(snapshots=[snapshot("plain", arrival + n * HOUR, 10**6) for n in range(0, 60, 12)])


def another_video_of_the_channel(arrival):
    told = {"published_at": CUT - 4 * DAY, "ingested_at": arrival}
    return world(
        [version("another", CUT - 3 * DAY, CHANNELS[0], **told)],
        [snapshot("another", CUT - 3 * DAY, 10**7, ingested_at=arrival)],
    )


def late_look_at_a_channel(arrival):
    return world(channels=[channel_look(CHANNELS[0], CUT - HOUR, 3, ingested_at=arrival)])


# What is planted, and a feature that tells of it where it may be known.
PLANTS = {
    late_row: "observation_count",
    correction: "view_count",
    title_edit: "title_length",
    late_title_edit: "is_title_question",
    late_move_to_another_channel: "age_hours",
    late_edit_between_two_broadcast_states: "title_words",
    snapshots_to_come: "view_count",
    another_video_of_the_channel: "channel_videos_seen",
    late_look_at_a_channel: "channel_subscribers",
}
HARMLESS = (*PLANTS, other_titles_of_the_same_moment)


def asked(feature_store):
    """Ask for every feature of both services at every moment, of all videos and channels."""
    videos = [*VIDEOS, "plain", "premiere", "another"]
    homes = {video: CHANNELS[at % 5] for at, video in enumerate(VIDEOS)}
    published = [
        {"video_id": video, "channel_id": homes.get(video, CHANNELS[0]), "event_timestamp": moment}
        for video in videos
        for moment in MOMENTS
    ]
    draft = {
        "title": "T",
        "description": "",
        "tags": "",
        "draft_category_id": 0.0,
        "draft_duration_seconds": 0.0,
    }
    drafts = [
        {"channel_id": channel, "event_timestamp": moment} | draft
        for channel in CHANNELS
        for moment in MOMENTS
    ]
    return answers(feature_store, "published_v2", published) | answers(
        feature_store, "draft_v2", drafts
    )


def answers(feature_store, service, rows):
    frame = pd.DataFrame(rows).assign(as_of=lambda rows: rows["event_timestamp"])
    job = feature_store.get_historical_features(frame, feature_store.get_feature_service(service))
    table = job.to_df()
    features = table.columns.difference(frame.columns)
    return {f"{service}:{name}": table[name].to_numpy(dtype=float) for name in features}


def planted(warehouse, *plants):
    """Start from the world as it was, plant, and build all feature tables anew."""
    forget(warehouse)
    store(warehouse, BEFORE)
    for plant in plants:
        store(warehouse, plant)
    build(warehouse)


@pytest.fixture(scope="module")
def before(warehouse, feature_store):
    """Every feature of a world in which nothing was planted."""
    planted(warehouse)
    return asked(feature_store)


@pytest.mark.parametrize("plant", HARMLESS, ids=lambda plant: plant.__name__)
def test_what_arrives_after_the_moment_changes_no_feature(plant, before, warehouse, feature_store):
    planted(warehouse, plant(JUST_AFTER))
    assert differing(asked(feature_store), before) == set()


def test_the_same_plants_are_found_out_when_they_were_known_by_then(
    before, warehouse, feature_store
):
    planted(warehouse, *(plant(CUT) for plant in PLANTS))
    changed = {name.partition(":")[2] for name in differing(asked(feature_store), before)}
    assert set(PLANTS.values()) <= changed


def test_a_late_row_that_claims_to_have_been_early_is_found_out(before, warehouse, feature_store):
    planted(warehouse, late_row(CUT - 36 * HOUR))
    changed = differing(asked(feature_store), before)
    assert "published_v2:observation_count" in changed
    assert not any(name.startswith("published_v2:title") for name in changed)


def test_the_moments_asked_about_hold_every_feature_of_a_published_video(before):
    empty = {name for name, values in before.items() if np.isnan(values).all()}
    assert not any(name.startswith("published") for name in empty)
