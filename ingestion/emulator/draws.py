"""The dice of a synthetic world: what falls depends on the seed and an upload's place only."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

HOUR = 3600.0
DAY = 24 * HOUR
WEEK = 7 * DAY
# Weeks are counted from a Monday, so that a week of the world is the same week whoever looks at it.
FIRST_MONDAY = datetime(2020, 1, 6, tzinfo=UTC).timestamp()

NORMALS = (
    "luck", "delay", "decay", "evergreen", "like_ratio", "like_shape", "comment_ratio",
    "comment_shape", "hour", "duration", "breakout_age", "breakout_width",
)  # fmt: skip
UNIFORMS = (
    "day", "second", "short", "hidden_likes", "comments_off", "deleted", "deleted_age", "edited",
    "edited_age", "breakout", "breakout_size", "corrected", "corrected_age", "corrected_size",
    "broadcast", "captions", "definition", "capitals", "question", "number", "emoji", "maxres",
)  # fmt: skip
# Drawn after all others, so that what was added later leaves the earlier dice as they fell.
LATER = ("moved", "moved_age", "moved_to", "lacks_statistics")
SHOCKS = 13

_UPLOAD_STREAM, _CHANNEL_STREAM = 1, 2


@dataclass(frozen=True)
class UploadDraws:
    """A row per upload: whose it is, in which week, and its random numbers by name."""

    channel: IntArray
    week: IntArray
    place: IntArray
    normal: dict[str, FloatArray]
    uniform: dict[str, FloatArray]
    shocks: FloatArray


def channel_generator(seed: int, channel: int) -> np.random.Generator:
    """Give the generator of what never changes about a channel."""
    return np.random.default_rng([seed, _CHANNEL_STREAM, channel])


def upload_draws(seed: int, uploads_per_week: FloatArray, weeks: range) -> UploadDraws:
    """Draw the uploads of all channels in some weeks; the same week always gives the same ones."""
    columns = len(NORMALS) + SHOCKS
    where: list[tuple[int, int, int]] = []
    normal: list[FloatArray] = []
    uniform: list[FloatArray] = []
    later: list[FloatArray] = []
    for channel, rate in enumerate(uploads_per_week):
        for week in weeks:
            generator = np.random.default_rng([seed, _UPLOAD_STREAM, channel, week])
            count = int(rate + generator.random())
            where += [(channel, week, place) for place in range(count)]
            normal.append(generator.standard_normal((count, columns)))
            uniform.append(generator.random((count, len(UNIFORMS))))
            later.append(generator.random((count, len(LATER))))
    places = np.array(where, dtype=np.int64).reshape(-1, 3)
    normals = np.concatenate(normal)
    uniforms = np.concatenate([np.concatenate(uniform), np.concatenate(later)], axis=1)
    return UploadDraws(
        channel=places[:, 0],
        week=places[:, 1],
        place=places[:, 2],
        normal={name: normals[:, i] for i, name in enumerate(NORMALS)},
        uniform={name: uniforms[:, i] for i, name in enumerate(UNIFORMS + LATER)},
        shocks=normals[:, len(NORMALS) :],
    )


def identifier(seed: int, *place: int, length: int) -> str:
    """Give the id of a thing of the world: as YouTube's, the same for the same seed and place."""
    return identifiers(seed, [place], length=length)[0]


def identifiers(seed: int, places: Sequence[tuple[int, ...]], *, length: int) -> list[str]:
    """Give ids in YouTube's alphabet, `length` characters each."""
    digests = (hashlib.sha256(repr((seed, *place)).encode()).digest() for place in places)
    return [urlsafe_b64encode(digest)[:length].decode() for digest in digests]
