from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ingestion import planner
from ingestion.sightings import described, view_count
from ingestion.targets import Reference, Target, UnknownTarget, parse_reference

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def video(name: str = "v", *, age: timedelta = HOUR, due_in: timedelta = -HOUR) -> Target:
    return Target("video", name, "synthetic", NOW, NOW + due_in, published_at=NOW - age)


@pytest.mark.parametrize(
    ("age", "wait"),
    [(HOUR, 6 * HOUR), (47 * HOUR, 6 * HOUR), (3 * DAY, DAY), (29 * DAY, DAY), (40 * DAY, 7 * DAY)],
)
def test_younger_videos_are_looked_at_more_often(age: timedelta, wait: timedelta) -> None:
    assert planner.observed(video(age=age), NOW).next_due_at == NOW + wait


@pytest.mark.parametrize(
    ("age", "looked", "wanted"),
    [
        (3 * DAY, -23 * HOUR, -3 * HOUR),  # a day between two looks is too long for a count
        (3 * DAY, -16 * HOUR, 0 * HOUR),
        (10 * DAY, -23 * HOUR, 0 * HOUR),
        (12 * HOUR, -5 * HOUR, 0 * HOUR),
        (12 * HOUR, -6 * HOUR, -3 * HOUR),
        (3 * DAY, 0 * HOUR, None),
        (3 * DAY, HOUR, None),
    ],
)
def test_a_label_is_looked_at_from_both_sides(
    age: timedelta, looked: timedelta, wanted: timedelta | None
) -> None:
    look = planner.label_look(NOW, NOW + looked, NOW - age)
    assert look == (None if wanted is None else NOW + wanted)


def test_an_old_video_is_left_alone() -> None:
    assert planner.observed(video(age=100 * DAY), NOW).next_due_at > NOW + 3650 * DAY


def test_nothing_is_asked_while_nothing_is_due() -> None:
    assert planner.due([video(due_in=HOUR)], NOW) == []


def test_requests_are_filled_with_what_is_due_soon() -> None:
    late = [video(f"late{n}") for n in range(60)]
    soon = [video(f"soon{n:02d}", due_in=HOUR) for n in range(60)]
    requests = planner.due([*soon, *late], NOW)
    assert [len(r.video_ids) for r in requests] == [50, 50]
    asked = {name for r in requests for name in r.video_ids}
    assert {t.target_id for t in late} <= asked


def test_what_creators_wrote_is_read_at_first_and_once_a_week() -> None:
    seen = replace(video(age=10 * DAY), last_count=1)
    assert planner.needs_description(seen, NOW)
    assert not planner.needs_description(replace(seen, last_observed_at=NOW - DAY), NOW)
    assert planner.needs_description(replace(seen, last_observed_at=NOW - 4 * DAY), NOW)


def test_an_announced_video_is_described_until_it_has_begun() -> None:
    """Statistics alone do not tell whether its 0 views are those of a video people can see."""
    announced = {"snippet": {"liveBroadcastContent": "upcoming"}, "statistics": {"viewCount": "0"}}
    begun = {"snippet": {"liveBroadcastContent": "live"}, "statistics": {"viewCount": "0"}}
    seen = planner.observed(video(age=9 * DAY), NOW, view_count(announced))
    assert planner.needs_description(seen, NOW + DAY)
    seen = planner.observed(seen, NOW + DAY, view_count(begun))
    assert not planner.needs_description(seen, NOW + 2 * DAY)


def test_a_video_is_gone_after_two_checks_and_not_after_one() -> None:
    once = planner.missed(video(), NOW)
    assert (once.gone_at, once.missing_checks) == (None, 1)
    assert planner.missed(once, NOW + 6 * HOUR).gone_at == NOW + 6 * HOUR
    assert planner.observed(once, NOW).missing_checks == 0


def test_what_is_gone_is_not_asked_for() -> None:
    assert planner.due([replace(video(), gone_at=NOW)], NOW) == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("dQw4w9WgXcQ", Reference("video", "dQw4w9WgXcQ")),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=3s", Reference("video", "dQw4w9WgXcQ")),
        ("https://youtu.be/dQw4w9WgXcQ?si=x", Reference("video", "dQw4w9WgXcQ")),
        ("youtube.com/shorts/dQw4w9WgXcQ", Reference("video", "dQw4w9WgXcQ")),
        ("UC_x5XG1OV2P6uZZ5FSM9Ttw", Reference("channel", "UC_x5XG1OV2P6uZZ5FSM9Ttw")),
        (
            "https://www.youtube.com/channel/UC_x5XG1OV2P6uZZ5FSM9Ttw/videos",
            Reference("channel", "UC_x5XG1OV2P6uZZ5FSM9Ttw"),
        ),
        ("@GoogleDevelopers", Reference("handle", "@GoogleDevelopers")),
        ("https://youtube.com/@GoogleDevelopers/about", Reference("handle", "@GoogleDevelopers")),
    ],
)
def test_ids_handles_and_addresses_are_understood(written: str, expected: Reference) -> None:
    assert parse_reference(written) == expected


@pytest.mark.parametrize("written", ["", "hello", "https://example.com/watch?v=dQw4w9WgXcQ"])
def test_anything_else_is_refused(written: str) -> None:
    with pytest.raises(UnknownTarget):
        parse_reference(written)


@pytest.mark.parametrize(
    "snippet",
    [{}, None, [], {"publishedAt": "yesterday", "channelId": "UC-1"},
     {"publishedAt": "2026-05-01T00:00:00", "channelId": "UC-1"}, {"publishedAt": 3}],
)  # fmt: skip
def test_an_item_that_does_not_tell_an_age_leaves_the_target_as_it_was(snippet: object) -> None:
    target = Target("video", "v", "synthetic", NOW, NOW)
    assert described(target, {"id": "v", "snippet": snippet}) == target
    assert described(target, {"id": "v"}) == target
