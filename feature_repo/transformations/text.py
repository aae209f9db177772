"""What a title, a description and tags look like, before anybody has seen the video."""

import re
from collections.abc import Callable, Sequence
from functools import cache

import emoji
import numpy as np
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from feature_repo.transformations.declared import Feature
from feature_repo.transformations.language import READ_CHARACTERS, languages, reading_ease, speakers
from feature_repo.transformations.sequences import FloatArray

LATIN_LETTER = re.compile(r"[A-Za-z]")
LATIN_CAPITAL = re.compile(r"[A-Z]")
DIGIT = re.compile(r"\d")
WORD = re.compile(r"\w+")
HASHTAG = re.compile(r"#\w+")
LINK = re.compile(r"https?://|www\.")
QUESTION = re.compile(r"[?？؟]")
EXCLAMATION = re.compile(r"[!！]")
BRACKET = re.compile(r"[(\[{【「|｜]")
FEATURED_ARTIST = re.compile(r"\b(?:ft|feat|featuring|prod)\b", re.IGNORECASE)
OFFICIAL = re.compile(r"\bofficial\b|\boficial\b|\bofficiel\b|\bresmi\b|公式", re.IGNORECASE)
TRAILER = re.compile(r"\btrailer\b|\bteaser\b|\bpromo\b|\bepisode\b|\bep\b", re.IGNORECASE)
LIVE = re.compile(r"\blive\b|\ben vivo\b|\bao vivo\b|\ben directo\b", re.IGNORECASE)

NUMBER = re.compile(r"\d+")
CHAPTER = re.compile(r"^\s*\(?\d{1,2}:\d{2}", re.MULTILINE)
# What emoji are made of, and what every one holds at least one of: the library takes its time to
# find none, and a class of so many single characters is slow to search for.
_EMOJI_PARTS = sorted({ord(c) for e in emoji.EMOJI_DATA for c in e})
_EMOJI_SIGNS = frozenset(chr(code) for code in _EMOJI_PARTS if code > 127)
_FAR_APART = 50


def _ranges(codes: Sequence[int]) -> str:
    """Write a character class that holds at least these ascending codes, in few ranges."""
    ends = [i for i in range(len(codes) - 1) if codes[i + 1] - codes[i] > _FAR_APART]
    starts = [0, *(end + 1 for end in ends)]
    parts = zip(starts, [*ends, len(codes) - 1], strict=True)
    return "".join(f"{re.escape(chr(codes[a]))}-{re.escape(chr(codes[z]))}" for a, z in parts)


_NO_PART_OF_EMOJI = re.compile(f"[^{_ranges(_EMOJI_PARTS)}]+")

TITLE_FEATURES = (
    Feature("title_length", "characters", "Length of the title"),
    Feature("title_words", "words", "Words of the title"),
    Feature("title_uppercase_ratio", "ratio", "Capitals by Latin letters", "no Latin letter"),
    Feature("title_latin_ratio", "ratio", "Latin letters by characters", "empty title"),
    Feature("title_digits", "characters", "Digits in the title"),
    Feature("title_emoji", "emoji", "Emoji in the title"),
    Feature("title_hashtags", "hashtags", "Hashtags in the title"),
    Feature("title_brackets", "characters", "Opening brackets and bars that divide the title"),
    Feature("is_title_question", "0/1", "The title has a question mark of any script"),
    Feature("is_title_exclamation", "0/1", "The title has an exclamation mark of any script"),
    Feature("is_title_featuring", "0/1", "The title names a featured artist or producer"),
    Feature("is_title_official", "0/1", "The title says official, in several languages"),
    Feature("is_title_trailer", "0/1", "The title says trailer, teaser, promo or episode"),
    Feature("is_title_live", "0/1", "The title says live, in several languages"),
    Feature("title_sentiment", "score", "VADER compound score, -1 to 1", "under half is Latin"),
    Feature("title_longest_word", "characters", "Length of the longest word"),
    Feature("title_numbers", "numbers", "Whole numbers in the title, as in lists and episodes"),
    Feature("title_reading_ease", "score", "Flesch reading ease", "under five Latin words"),
    Feature("is_title_english", "0/1", "The likeliest language is English", "no language told"),
    Feature(
        "title_language_speakers",
        "million people",
        "Speakers of the likeliest language",
        "no language told",
    ),
)

DESCRIPTION_FEATURES = (
    Feature("description_length", "characters", "Length of the description", "absent"),
    Feature("description_lines", "lines", "Lines of the description", "absent"),
    Feature("description_links", "links", "Links in the description", "absent"),
    Feature("description_hashtags", "hashtags", "Hashtags in the description", "absent"),
    Feature("description_emoji", "emoji", "Emoji in its first 300 characters", "absent"),
    Feature("description_timestamps", "lines", "Lines that begin with a time: chapters", "absent"),
    Feature(
        "description_reading_ease",
        "score",
        "Flesch reading ease of its first 300 characters",
        "absent, or under five Latin words",
    ),
    Feature("tag_count", "tags", "Tags of the video", "none are shown"),
    Feature("tag_characters", "characters", "Length of all tags together", "none are shown"),
)


def title_features(
    titles: Sequence[str], codes: Sequence[str | None] | None = None
) -> dict[str, FloatArray]:
    """Describe titles as shown to viewers, each by itself.

    Args:
        titles: Never null, possibly empty.
        codes: Their languages, where these were told before.

    Returns:
        One float64 array per name in TITLE_FEATURES.
    """
    spoken = languages(titles) if codes is None else codes
    length = _each(titles, len)
    latin = _count(titles, LATIN_LETTER)
    return {
        "title_length": length,
        "title_words": _count(titles, WORD),
        "title_uppercase_ratio": uppercase_ratio(titles),
        "title_latin_ratio": _share(latin, length),
        "title_digits": _count(titles, DIGIT),
        "title_emoji": emoji_counts(titles),
        "title_hashtags": _count(titles, HASHTAG),
        "title_brackets": _count(titles, BRACKET),
        "is_title_question": _has(titles, QUESTION),
        "is_title_exclamation": _has(titles, EXCLAMATION),
        "is_title_featuring": _has(titles, FEATURED_ARTIST),
        "is_title_official": _has(titles, OFFICIAL),
        "is_title_trailer": _has(titles, TRAILER),
        "is_title_live": _has(titles, LIVE),
        "title_sentiment": _each(titles, _sentiment),
        "title_longest_word": _each(titles, _longest_word),
        "title_numbers": _count(titles, NUMBER),
        "title_reading_ease": _each(titles, reading_ease),
        "is_title_english": np.array([np.nan if c is None else c == "en" for c in spoken], float),
        "title_language_speakers": speakers(spoken),
    }


def description_features(
    descriptions: Sequence[str | None], tags: Sequence[Sequence[str] | None]
) -> dict[str, FloatArray]:
    """Describe descriptions and tags; a null stays null, an empty text counts 0.

    Returns:
        One float64 array per name in DESCRIPTION_FEATURES.
    """
    return {
        "description_length": _each(descriptions, len),
        "description_lines": _each(descriptions, lambda text: text.count("\n") + 1),
        "description_links": _count(descriptions, LINK),
        "description_hashtags": _count(descriptions, HASHTAG),
        "description_emoji": emoji_counts(
            [None if text is None else text[:READ_CHARACTERS] for text in descriptions]
        ),
        "description_timestamps": _count(descriptions, CHAPTER),
        "description_reading_ease": _each(descriptions, reading_ease),
        "tag_count": np.array([np.nan if t is None else len(t) for t in tags], dtype=np.float64),
        "tag_characters": np.array(
            [np.nan if t is None else sum(map(len, t)) for t in tags], dtype=np.float64
        ),
    }


def uppercase_ratio(titles: Sequence[str]) -> FloatArray:
    """Give the share of capitals among the Latin letters of each title; NaN without any."""
    return _share(_count(titles, LATIN_CAPITAL), _count(titles, LATIN_LETTER))


def emoji_counts(texts: Sequence[str | None]) -> FloatArray:
    """Count emoji as people see them, a joined family as one; NaN for None."""
    return _each(texts, _emoji_count)


def _emoji_count(text: str) -> int:
    if text.isascii() or _EMOJI_SIGNS.isdisjoint(text):
        return 0
    return emoji.emoji_count(_NO_PART_OF_EMOJI.sub(" ", text))


def _sentiment(title: str) -> float:
    """Score a title that VADER, an English lexicon, has a chance to read.

    Source: Hutto and Gilbert, VADER, ICWSM 2014.
    """
    if 2 * len(LATIN_LETTER.findall(title)) < len(title) or not title:
        return float("nan")
    return float(_analyzer().polarity_scores(title)["compound"])


def _longest_word(title: str) -> int:
    return max((len(word) for word in WORD.findall(title)), default=0)


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def _each(texts: Sequence[str | None], measure: Callable[[str], float]) -> FloatArray:
    return np.array([np.nan if t is None else measure(t) for t in texts], dtype=np.float64)


def _count(texts: Sequence[str | None], pattern: re.Pattern[str]) -> FloatArray:
    return _each(texts, lambda text: len(pattern.findall(text)))


def _has(texts: Sequence[str], pattern: re.Pattern[str]) -> FloatArray:
    return _each(texts, lambda text: pattern.search(text) is not None)


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
