from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ingestion.emulator.videos import PLAIN
from ingestion.emulator.world import World, synthetic_world
from ingestion.emulator.writing import iso_duration, rounded

END = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(7, days=60, channels=25, end=END)


def views_over(world: World, video: int, hours: range) -> np.ndarray:
    at, index = world.videos.started_at[video], np.array([video])
    return np.array([world.videos.curves.views(index, at + 3600 * h)[0] for h in hours])


def test_the_same_seed_makes_the_same_world(world: World) -> None:
    again = synthetic_world(7, days=60, channels=25, end=END)
    assert again.videos.video_ids == world.videos.video_ids
    everything = np.arange(len(world.videos.video_ids))
    assert again.counts(everything, END.timestamp()) == world.counts(everything, END.timestamp())


def test_a_later_window_shows_the_same_youtube_later(world: World) -> None:
    later = synthetic_world(7, days=30, channels=25, end=END + timedelta(days=9))
    shared = [v for v in later.videos.video_ids if v in world.video_index]
    assert len(shared) > 100
    for video_id in shared[::17]:
        assert later.true_counts(video_id, END) == world.true_counts(video_id, END)


def test_two_seeds_share_no_id(world: World) -> None:
    other = synthetic_world(8, days=60, channels=25, end=END)
    assert not set(other.videos.video_ids) & set(world.videos.video_ids)
    assert not set(other.channel_index) & set(world.channel_index)


def test_ids_are_unique_and_look_like_youtubes(world: World) -> None:
    assert len(set(world.videos.video_ids)) == len(world.videos.video_ids)
    assert {len(video_id) for video_id in world.videos.video_ids} == {11}
    assert all(c.startswith("UC") and len(c) == 24 for c in world.channel_index)


def test_views_fall_only_where_youtube_corrects_them(world: World) -> None:
    corrected = np.isfinite(world.videos.curves.corrected_age)
    for video in range(0, len(corrected), 29):
        falls = np.sum(np.diff(views_over(world, video, range(0, 600, 4))) < 0)
        assert falls == 0 or (corrected[video] and falls == 1)


def test_growth_can_be_foreseen_but_not_exactly(world: World) -> None:
    plain = np.flatnonzero(world.videos.broadcast == PLAIN)[::5]
    at = {
        h: np.log10([1 + views_over(world, v, range(h, h + 1))[0] for v in plain])
        for h in (6, 24, 192)
    }
    growth = at[192] - at[24]
    inputs = np.column_stack([np.ones(len(plain)), at[24], at[24] - at[6]])
    fitted = inputs @ np.linalg.lstsq(inputs, growth, rcond=None)[0]
    assert 0.05 < np.std(growth - fitted) < 0.9 * np.std(growth) + 0.05


def test_channels_differ_by_orders_of_magnitude() -> None:
    levels = synthetic_world(3, days=7, channels=60, end=END).channels.level
    assert np.ptp(levels) > 2.5


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "PT0S"), (59, "PT59S"), (3600, "PT1H"), (90_061, "P1DT1H1M1S")]
)
def test_durations_are_written_in_iso_8601(seconds: int, written: str) -> None:
    assert iso_duration(seconds) == written


def test_subscribers_are_shown_in_three_figures() -> None:
    assert [rounded(n) for n in (0, 999, 1_234, 9_876_543)] == [0, 999, 1_230, 9_870_000]
