import emoji
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.transformations.declared import names
from feature_repo.transformations.language import languages
from feature_repo.transformations.text import (
    DESCRIPTION_FEATURES,
    TITLE_FEATURES,
    description_features,
    emoji_counts,
    title_features,
)
from tests.exactness import differing, quick, rows_alone
from tests.worlds import TITLES

TITLE = st.one_of(st.text(max_size=60), st.sampled_from(TITLES))
SOME_TITLES = st.lists(TITLE, min_size=1, max_size=12)
DESCRIPTION = st.none() | st.text(max_size=60)
TAGS = st.none() | st.lists(st.text(max_size=8), max_size=4)
DESCRIBED = st.lists(st.tuples(DESCRIPTION, TAGS), min_size=1, max_size=12)


def title(text):
    return {name: values[0] for name, values in title_features([text]).items()}


@given(SOME_TITLES)
@quick
def test_a_title_is_described_the_same_alone_or_in_a_batch(titles):
    alone = rows_alone([title_features([text]) for text in titles])
    assert differing(title_features(titles), alone) == set()


@given(SOME_TITLES, st.randoms())
@quick
def test_the_order_of_titles_does_not_matter(titles, random):
    order = random.sample(range(len(titles)), len(titles))
    shuffled = title_features([titles[at] for at in order])
    sorted_ = {name: values[order] for name, values in title_features(titles).items()}
    assert differing(shuffled, sorted_) == set()


@given(DESCRIBED)
@quick
def test_a_description_is_described_the_same_alone_or_in_a_batch(rows):
    texts, tags = zip(*rows, strict=True)
    alone = rows_alone([description_features([text], [tag]) for text, tag in rows])
    assert differing(description_features(texts, tags), alone) == set()


@given(SOME_TITLES)
@quick
def test_title_features_are_those_declared_and_null_only_as_declared(titles):
    features = title_features(titles)
    assert tuple(features) == names(TITLE_FEATURES)
    for feature in TITLE_FEATURES:
        assert feature.null != "never" or not np.isnan(features[feature.name]).any(), feature.name
        assert features[feature.name].dtype == np.float64


@given(SOME_TITLES)
@quick
def test_title_features_stay_in_their_ranges(titles):
    features = title_features(titles)
    ranges = {"ratio": (0, 1), "0/1": (0, 1), "score": (-np.inf, 207)}
    for feature in TITLE_FEATURES:
        known = features[feature.name][~np.isnan(features[feature.name])]
        low, high = ranges.get(feature.unit, (0, 1e9))
        assert ((known >= low) & (known <= high)).all(), feature.name


@given(DESCRIBED)
@quick
def test_descriptions_are_null_exactly_where_they_are_absent(rows):
    texts, tags = zip(*rows, strict=True)
    features = description_features(texts, tags)
    assert tuple(features) == names(DESCRIPTION_FEATURES)
    for name, values in features.items():
        if name == "description_reading_ease":
            continue  # short texts have none
        absent = [part is None for part in (tags if name.startswith("tag_") else texts)]
        np.testing.assert_array_equal(np.isnan(values), absent, err_msg=name)


def test_capitals_are_counted_among_latin_letters():
    features = title("BIG news 2day — большие НОВОСТИ")
    assert features["title_uppercase_ratio"] == 3 / 10
    assert features["title_latin_ratio"] == 10 / 31
    assert features["title_digits"] == 1
    assert features["title_words"] == 5


@pytest.mark.parametrize(
    ("text", "emoji"),
    [
        ("no emoji :) 123 ©", 1),  # the copyright sign is one, by Unicode
        ("🎉🎉 Party", 2),
        ("family 👨‍👩‍👧", 1),
        ("flag 🇹🇷 and skin 👋🏽", 2),
        ("", 0),
    ],
)
def test_emoji_are_counted_as_people_see_them(text, emoji):
    assert title(text)["title_emoji"] == emoji


@pytest.mark.parametrize("text", ["Why?", "مقابلة حصرية؟", "本当？"])
def test_questions_are_seen_in_every_script(text):
    assert title(text)["is_title_question"] == 1


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("is_title_featuring", "Song ft. Someone", "left after"),
        ("is_title_official", "Clip OFICIAL", "officially"),
        ("is_title_official", "公式PV", "非"),
        ("is_title_trailer", "S2 Ep 3", "deep"),
        ("is_title_live", "Artist | Live at home", "alive"),
        ("is_title_exclamation", "今日！", "today"),
    ],
)
def test_words_count_as_words_only(name, yes, no):
    assert (title(yes)[name], title(no)[name]) == (1, 0)


def test_an_empty_title_has_lengths_but_no_ratios():
    features = title("")
    nulls = {name for name, value in features.items() if np.isnan(value)}
    assert nulls == {feature.name for feature in TITLE_FEATURES if feature.null != "never"}
    assert all(features[name] == 0 for name in features if name not in nulls)


def test_sentiment_is_left_out_where_under_half_is_latin():
    assert title("great wonderful love")["title_sentiment"] > 0.5
    assert title("horrible terrible hate")["title_sentiment"] < -0.5
    assert np.isnan(title("love 今日のゲーム実況")["title_sentiment"])


def test_a_newline_in_a_title_is_a_character():
    assert title("ab\ncd")["title_length"] == 5
    assert title("ab\ncd")["title_words"] == 2


def test_an_empty_description_is_not_an_absent_one():
    features = description_features(["", None, "a\nhttps://x www.y #z"], [[], None, ["a", "b"]])
    assert features["description_length"].tolist()[::2] == [0, 20]
    assert features["description_lines"].tolist()[::2] == [1, 2]
    assert features["description_links"].tolist()[::2] == [0, 2]
    assert features["description_hashtags"].tolist()[::2] == [0, 1]
    assert features["tag_count"].tolist()[::2] == [0, 2]
    assert all(np.isnan(values[1]) for values in features.values())


@pytest.mark.parametrize(
    ("text", "is_english", "speakers"),
    [
        ("How I built a house in the woods", 1, 1500),
        ("東京の天気は今日も雨です", 0, 120),
        ("오늘의 날씨를 알려드립니다", 0, 82),
        ("Nunca hemos visto algo parecido en nuestra vida", 0, 560),
    ],
)
def test_a_language_is_told_from_the_words(text, is_english, speakers):
    features = title(text)
    assert features["is_title_english"] == is_english
    assert features["title_language_speakers"] == speakers


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("東京の夜 서울", "ja"),
        ("歌 の 한국", "ja"),
        ("ไทย ｶ 中国", "ja"),
        ("żółć 日本 の", "ja"),
        ("中国 한국", "zh"),
    ],
)
def test_the_language_of_many_scripts_is_no_matter_of_chance(text, code):
    """Kana make Japanese of Han characters; every asking is answered alike, many or one."""
    assert {*languages([text] * 50), *languages([text])} == {code}


def test_short_words_and_sentences_read_more_easily():
    easy = title("The cat sat on the mat. It was warm.")["title_reading_ease"]
    hard = title("Institutional considerations regarding macroeconomic stabilization policies")
    assert easy > 90 > 0 > hard["title_reading_ease"]
    assert np.isnan(title("two words")["title_reading_ease"])


def test_chapters_and_the_emoji_of_a_beginning_are_counted():
    text = "🎉 Enjoy\n0:00 Intro\n 12:34 End\nat 5:00 sharp" + " " * 300 + "🎉"
    features = description_features([text], [["ab", "c"]])
    assert features["description_timestamps"] == 2
    assert features["description_emoji"] == 1
    assert features["tag_characters"] == 3


@given(st.text(max_size=40))
@quick
def test_emoji_are_found_where_the_library_finds_them(text):
    assert emoji_counts([text])[0] == emoji.emoji_count(text)
