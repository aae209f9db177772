"""A title's likeness to its channel's earlier ones: from packed counts as from plain sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.transformations.titles import (
    WORD_COUNTS,
    counts_of_last,
    similarity_to_channel,
    similarity_to_earlier,
    title_words,
)
from tests.exactness import bits, quick
from tests.ingestion.slow_track_record import words
from tests.worlds import TITLES

TITLE = st.one_of(st.text(max_size=40), st.sampled_from(TITLES), st.text("ab 1今", max_size=9))
CHANNEL = st.lists(TITLE, max_size=45)


def record(titles):
    """Give what a channel's record keeps of its titles."""
    none = dict.fromkeys((*WORD_COUNTS, "channel_videos_seen"), math.nan)
    if not titles:
        return none
    counts = counts_of_last(title_words(titles), np.zeros(len(titles), np.int64))[-1]
    told = dict(zip(WORD_COUNTS, counts.astype(float), strict=True))
    return told | {"channel_videos_seen": float(len(titles))}


def similarity(rows):
    """Hold a title each against the earlier titles of a channel each."""
    channel = [record(earlier) for _, earlier in rows]
    inputs = {name: np.array([one[name] for one in channel]) for name in channel[0]}
    titles = [title for title, _ in rows]
    return similarity_to_channel(titles, inputs)["title_similarity_to_channel"]


@given(st.lists(st.tuples(TITLE, CHANNEL), min_size=1, max_size=5))
@quick
def test_a_title_is_held_against_the_last_twenty_alone_or_in_a_batch(rows):
    together = similarity(rows)
    for row, value in zip(rows, together, strict=True):
        own, last = words(row[0]), [words(title) for title in row[1][-20:]]
        shared = sum(len(own & earlier) for earlier in last)
        expected = shared / (len(own) * len(last)) if own and last else math.nan
        assert bits(value) == bits(expected) == bits(similarity([row]))


@pytest.mark.parametrize(
    ("title", "earlier", "expected"),
    [
        ("Daily vlog 12", ["DAILY VLOG 11", "daily vlog 10"], 2 / 3),
        ("Daily vlog", ["Daily news", "Daily vlog"], 3 / 4),
        ("今日のゲーム", ["今日の料理"], 3 / 6),  # no spaces: by characters
        ("brand new", ["Daily news"], 0.0),
        ("same same", ["same"], 1.0),
        ("🎉🎉", ["🎉🎉"], math.nan),  # no word
        ("Daily", [], math.nan),
        ("Daily", ["", "Daily"], 1 / 2),
    ],
)
def test_a_title_is_as_similar_as_a_share_of_titles_hold_its_words(title, earlier, expected):
    assert bits(similarity([(title, earlier)])) == bits(expected)


def test_a_record_of_before_there_were_words_in_it_tells_nothing():
    old = record(["Daily"]) | dict.fromkeys(WORD_COUNTS, math.nan)
    inputs = {name: np.array([value]) for name, value in old.items()}
    assert np.isnan(similarity_to_channel(["Daily"], inputs)["title_similarity_to_channel"][0])


def test_counts_outlast_totals_that_no_longer_fit():
    """Half a million titles of one word in the highest bits: sums wrap around, counts do not."""
    packed = np.full((500_000, 1), 1 << 45, dtype=np.int64)
    counts = counts_of_last(packed, np.zeros(len(packed), np.int64))[:, 0]
    assert (counts[:3] == np.array([1, 2, 3]) << 45).all()
    assert (counts[19:] == 20 << 45).all()


def test_an_edit_is_held_against_what_came_before_the_video_and_not_before_the_edit():
    titles = ["one", "two", "three", "four"]
    told = similarity_to_earlier(
        np.zeros(4, np.int64), np.array([0, 1, 2, 1]), np.arange(4.0), title_words(titles)
    )
    assert bits(told).tolist() == bits([math.nan, 0.0, 0.0, 0.0]).tolist()


def test_what_is_first_seen_together_is_not_earlier():
    told = similarity_to_earlier(
        np.zeros(4, np.int64), np.arange(4), np.array([0.0, 1, 1, 2]), title_words(["a"] * 4)
    )
    assert bits(told).tolist() == bits([math.nan, 1.0, 1.0, 1.0]).tolist()
    half = similarity_to_earlier(
        np.array([0, 0, 0, 1]), np.arange(4), np.array([0.0, 0, 1, 2]), title_words(["a", *"bab"])
    )
    assert bits(half).tolist() == bits([math.nan, math.nan, 0.5, math.nan]).tolist()
