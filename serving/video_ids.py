"""The form of a YouTube video id."""

import re

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)


def is_video_id(text: str) -> bool:
    """Tell whether a text has the form of a video id."""
    return _VIDEO_ID.fullmatch(text) is not None
