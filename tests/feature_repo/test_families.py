"""Every feature that a model may read belongs to one of the declared families."""

import pytest

from feature_repo.families import CHANNEL, EARLY_PERFORMANCE, FAMILIES, FORMAT, TEXT, family_of
from feature_repo.feature_services import draft_v1, draft_v2, published_v1, published_v2


@pytest.mark.parametrize(
    "service", [published_v1, draft_v1, published_v2, draft_v2], ids=lambda service: service.name
)
def test_every_feature_has_a_family_and_every_family_features(service):
    of = {
        feature.name: family_of(feature.name)
        for projection in service.feature_view_projections
        for feature in projection.features
    }
    expected = set(FAMILIES) - ({EARLY_PERFORMANCE} if service.name.startswith("draft") else set())
    assert set(of.values()) == expected
    assert all(name.startswith("channel_") or of[name] != CHANNEL for name in of if "title" in name)


def test_what_sets_a_video_apart_from_its_channel_is_told_by_what_is_compared():
    assert family_of("title_emoji_against_channel") == TEXT
    assert family_of("duration_seconds_by_channel") == FORMAT
    assert family_of("views_against_channel_normal") == CHANNEL
    assert family_of("age_hours") == EARLY_PERFORMANCE


def test_a_feature_that_nobody_declared_has_none():
    with pytest.raises(KeyError):
        family_of("title_length_of_somebody_else")
