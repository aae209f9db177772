"""How a title resembles its channel's earlier ones: by counts of words, hashed and packed; pure.

Words are hashed into a fixed number of buckets (Weinberger et al., Feature Hashing, ICML 2009), and
what is kept of a channel is in how many of its last titles each bucket occurs. Ten counts share a
float64: five bits hold a count to 31, ten of them are a whole number that a float64 holds exactly.
"""

import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from feature_repo.transformations.channel_rows import LAST_VIDEOS
from feature_repo.transformations.declared import Feature
from feature_repo.transformations.sequences import FloatArray, IntArray, is_first, start_of

# In scripts that put no space between words (Thai, Japanese, Chinese) each character is one.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")

_BITS, _PER_NUMBER, _NUMBERS = 5, 10, 8
_BUCKETS = _PER_NUMBER * _NUMBERS
_LARGEST = (1 << _BITS) - 1
assert LAST_VIDEOS <= _LARGEST

SIMILARITY_FEATURES = (
    Feature(
        "title_similarity_to_channel",
        "ratio",
        f"Share of the channel's last {LAST_VIDEOS} titles seen before that hold a word of this "
        "one, mean over its words",
        "no earlier title of the channel known by then, or no word in the title",
    ),
)
WORD_COUNT_FEATURES = tuple(
    Feature(
        f"channel_title_words_{number}",
        "packed counts",
        f"In how many of the last {LAST_VIDEOS} titles words of buckets {number * _PER_NUMBER} to "
        f"{(number + 1) * _PER_NUMBER - 1} occur, {_BITS} bits each; read by similarity alone",
        "no video seen",
    )
    for number in range(_NUMBERS)
)
WORD_COUNTS = tuple(feature.name for feature in WORD_COUNT_FEATURES)


def title_words(titles: Sequence[str]) -> IntArray:
    """Mark in which buckets each title has a word, whatever its case.

    Returns:
        Packed counts of 0 or 1, shape (titles, numbers).
    """
    packed = np.zeros((len(titles), _NUMBERS), dtype=np.int64)
    for row, title in enumerate(titles):
        words = _WORD.findall(title.casefold())
        for bucket in {
            zlib.crc32(word.encode(errors="surrogatepass")) % _BUCKETS for word in words
        }:
            packed[row, bucket // _PER_NUMBER] |= 1 << _BITS * (bucket % _PER_NUMBER)
    return packed


def counts_of_last(words: IntArray, entity: IntArray) -> IntArray:
    """Count words over the last titles of an entity, each row's own being the last.

    Args:
        words: Of a title each, packed.
        entity: Codes, ascending; titles of one are in the order in which they were first seen.
    """
    # Totals may wrap around: the difference of two is exact all the same.
    total = np.cumsum(words, axis=0)
    start = start_of(is_first(entity))
    gone = np.maximum(np.arange(len(words)) - LAST_VIDEOS, start - 1)
    return total - np.where(gone[:, np.newaxis] >= 0, total[gone], 0)


def similarity_to_earlier(
    entity: IntArray, video: IntArray, observed: FloatArray, words: IntArray
) -> FloatArray:
    """Hold titles against those of videos of their channel that were first seen before theirs.

    Args:
        entity: Codes of channels, ascending.
        video: Codes.
        observed: Epoch seconds, ascending within a channel.
        words: Of each title, packed.
    """
    if len(entity) == 0:
        return np.zeros(0)
    order = np.lexsort((np.arange(len(entity)), video, entity))
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[start_of(is_first(entity[order], video[order]))]
    at = np.flatnonzero(first == np.arange(len(first)))
    counts = counts_of_last(words[at], entity[at])
    # What was first seen at one moment is not earlier than any of it.
    start = start_of(is_first(entity[at]))
    together = start_of(is_first(entity[at], observed[at]))
    earlier = np.minimum(together - start, LAST_VIDEOS).astype(np.float64)
    mine = np.searchsorted(at, first)
    return _similarity(words, counts[together[mine] - 1].astype(np.float64), earlier[mine])


def similarity_to_channel(
    titles: Sequence[str], channel: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Hold titles that were not seen yet against all those known of their channels.

    Args:
        titles: Never null.
        channel: WORD_COUNTS and `channel_videos_seen`; NaN where null.

    Returns:
        One float64 array per name in SIMILARITY_FEATURES.
    """
    counts = np.stack([channel[name] for name in WORD_COUNTS], axis=1)
    earlier = np.minimum(channel["channel_videos_seen"], float(LAST_VIDEOS))
    return {SIMILARITY_FEATURES[0].name: _similarity(title_words(titles), counts, earlier)}


def _similarity(words: IntArray, counts: FloatArray, earlier: FloatArray) -> FloatArray:
    """Divide whole numbers, once: the same bits in a batch, alone and on any machine."""
    unknown = np.isnan(counts).any(axis=1) | ~(earlier > 0)
    known = np.where(np.isnan(counts), 0.0, counts).astype(np.int64)
    own = _total(words)
    shared = _total(known & (words * _LARGEST))
    most = np.where(unknown | (own == 0), np.nan, own * earlier)
    return shared / most


def _total(packed: IntArray) -> FloatArray:
    shifts = _BITS * np.arange(_PER_NUMBER)
    return ((packed[:, :, np.newaxis] >> shifts) & _LARGEST).sum(axis=(1, 2)).astype(np.float64)
