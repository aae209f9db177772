"""What features are about: videos, and the channels that publish them."""

from feast import Entity
from feast.value_type import ValueType

OWNER = "foreview"

video = Entity(
    name="video",
    join_keys=["video_id"],
    value_type=ValueType.STRING,
    description="A YouTube video by its 11-character id.",
    owner=OWNER,
)
channel = Entity(
    name="channel",
    join_keys=["channel_id"],
    value_type=ValueType.STRING,
    description="A YouTube channel by its id, UC and 22 characters.",
    owner=OWNER,
)
