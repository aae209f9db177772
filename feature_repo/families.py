"""Which family each feature belongs to: what a report takes away at a time; pure."""

from collections.abc import Sequence

from feature_repo.transformations.declared import Feature, names
from feature_repo.transformations.format import FORMAT_FEATURES
from feature_repo.transformations.performance import PERFORMANCE_FEATURES
from feature_repo.transformations.request import (
    DRAFT_REQUEST_FEATURES,
    PUBLISHED_REQUEST_FEATURES,
)
from feature_repo.transformations.text import DESCRIPTION_FEATURES, TITLE_FEATURES
from feature_repo.transformations.timing import TIMING_FEATURES
from feature_repo.transformations.track_record import TRACK_RECORD_FEATURES

EARLY_PERFORMANCE = "early performance"
CHANNEL = "channel track record"
TEXT = "title and description"
FORMAT = "format and category"
MOMENT = "publishing moment"
MISSINGNESS = "missingness"
FAMILIES = (EARLY_PERFORMANCE, CHANNEL, TEXT, FORMAT, MOMENT, MISSINGNESS)

# A request feature that is held against the channel belongs to the channel, but for how a text or
# a format is set apart from its others; what is left says how the video itself is doing.
_OF_CHANNEL = ("channel", "subscriber")
_OF_MOMENT = ("asked_",)
_INDICATORS = ("are_likes_hidden", "are_comments_off", "are_subscribers_hidden")
_OWN_FORMAT = ("duration_seconds_by_channel",)
_OWN_TEXT = ("title_", "description_", "tag_")


def family_of(feature: str) -> str:
    """Give the family of a feature; raises KeyError for a name that no transformation declares."""
    return _FAMILY[feature]


def _of_request(name: str) -> str:
    if name.startswith(_OF_MOMENT):
        return MOMENT
    return CHANNEL if any(word in name for word in _OF_CHANNEL) else EARLY_PERFORMANCE


def _families() -> dict[str, str]:
    request = names([*PUBLISHED_REQUEST_FEATURES, *DRAFT_REQUEST_FEATURES])
    found = {name: _of_request(name) for name in request}
    declared: tuple[tuple[str, Sequence[Feature]], ...] = (
        (EARLY_PERFORMANCE, PERFORMANCE_FEATURES),
        (CHANNEL, TRACK_RECORD_FEATURES),
        (TEXT, [*TITLE_FEATURES, *DESCRIPTION_FEATURES]),
        (FORMAT, FORMAT_FEATURES),
        (MOMENT, TIMING_FEATURES),
    )
    for family, features in declared:
        found |= dict.fromkeys(names(features), family)
    found |= {name: TEXT for name in found if name.startswith(_OWN_TEXT)}
    return found | dict.fromkeys(_OWN_FORMAT, FORMAT) | dict.fromkeys(_INDICATORS, MISSINGNESS)


_FAMILY = _families()
