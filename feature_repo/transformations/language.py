"""Which language a text is in, and how easily it reads."""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from feature_repo.transformations.sequences import FloatArray

# The languages told apart, with speakers on earth in millions (Ethnologue 2024, rounded to two
# figures): how large an audience may understand a text. Few, because each costs time and memory.
SPEAKERS_MILLIONS = {
    "en": 1500, "zh": 1100, "hi": 610, "es": 560, "fr": 310, "ar": 330, "bn": 280, "pt": 270,
    "ru": 260, "id": 200, "de": 130, "ja": 120, "te": 96, "tr": 91, "vi": 86, "ta": 86, "ko": 82,
    "it": 66, "th": 61, "pl": 43,
}  # fmt: skip

READ_CHARACTERS = 300
LEAST_WORDS = 5
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ɏ]+")
_SENTENCE_END = re.compile(r"[.!?\n]+")
_LINK = re.compile(r"\S+://\S+|www\.\S+|[#@]\S+")
# By Unicode's scripts, as lingua tells them: squared, circled and halfwidth ones too.
_KANA = re.compile(
    "[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\u32d0-\u32fe\u3300-\u3357"
    "\uff66-\uff6f\uff71-\uff9d\U0001aff0-\U0001b16f\U0001f200]"
)
_HAN = re.compile(
    "[\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)


def languages(texts: Sequence[str]) -> list[str | None]:
    """Name the likeliest language of each text, ISO 639-1; None where none can be told.

    Source: lingua's trigram models (its low accuracy mode: 30 MB instead of 400).
    """
    asked = [_of_one_script(text) for text in texts]
    if len(asked) == 1:
        found = [_detector().detect_language_of(asked[0])]
    else:
        found = _detector().detect_languages_in_parallel_of(asked)
    return [None if one is None else one.iso_code_639_1.name.lower() for one in found]


def _of_one_script(text: str) -> str:
    """Write Japanese in kana alone: beside kana, Han characters are Japanese too.

    Where a third script is there, lingua gives Han to Japanese or to Chinese by chance.
    """
    return _HAN.sub("の", text) if _KANA.search(text) else text


def speakers(codes: Sequence[str | None]) -> FloatArray:
    """Give the speakers of languages in millions; NaN where the language is not known."""
    return np.array(
        [np.nan if code is None else SPEAKERS_MILLIONS[code] for code in codes], dtype=np.float64
    )


def reading_ease(text: str) -> float:
    """Give Flesch's reading ease of a text's first characters; NaN below five Latin words.

    Syllables are counted by English hyphenation, so that the score compares texts of one language.
    Source: Flesch, A new readability yardstick, Journal of Applied Psychology, 1948.
    """
    read = _LINK.sub(" ", text[:READ_CHARACTERS])
    words = _LATIN_WORD.findall(read)
    if len(words) < LEAST_WORDS:
        return float("nan")
    sentences = max(sum(bool(part.strip()) for part in _SENTENCE_END.split(read)), 1)
    syllables = sum(_syllables(word.lower()) for word in words)
    return 206.835 - 1.015 * (len(words) / sentences) - 84.6 * (syllables / len(words))


@lru_cache(maxsize=1 << 16)
def _syllables(word: str) -> int:
    return len(_hyphenation().positions(word)) + 1


# Opened when first asked: a server that describes no texts pays nothing for them.
@cache
def _hyphenation() -> Any:
    import pyphen

    return pyphen.Pyphen(lang="en_US")


@cache
def _detector() -> Any:
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, code.upper()) for code in SPEAKERS_MILLIONS]
    builder = LanguageDetectorBuilder.from_iso_codes_639_1(*codes)
    return builder.with_low_accuracy_mode().build()
