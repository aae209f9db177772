"""Titles, descriptions and tags of a synthetic world, from a small grammar per language."""

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """The words a language's channels choose from, and how often the language is chosen."""

    weight: float
    countries: tuple[str, ...]
    channel_names: tuple[str, ...]
    subjects: tuple[str, ...]
    phrases: tuple[str, ...]
    questions: tuple[str, ...]
    numbered: tuple[str, ...]
    description: str
    call: str


@dataclass(frozen=True)
class Style:
    """What a title looks like; each of it moves the views a little."""

    capitals: bool
    question: bool
    number: bool
    emoji: bool


LANGUAGES: dict[str, Language] = {
    "en": Language(
        weight=0.42,
        countries=("US", "GB", "CA", "IN", "AU"),
        channel_names=(
            "Daily {subject}",
            "The {subject} Show",
            "{subject} Lab",
            "{subject} with Sam",
        ),
        subjects=(
            "guitar",
            "chess",
            "street food",
            "old cameras",
            "the night sky",
            "woodwork",
            "football",
            "electric cars",
            "pasta",
            "mountain bikes",
            "jazz piano",
            "retro games",
            "gardening",
        ),
        phrases=(
            "Everything about {subject}",
            "My honest opinion on {subject}",
            "{subject}, explained",
            "We tried {subject} for a week",
            "The truth about {subject}",
            "A quiet day with {subject}",
        ),
        questions=(
            "Is {subject} worth it?",
            "Why does everyone love {subject}?",
            "What is wrong with {subject}?",
        ),
        numbered=(
            "{n} mistakes with {subject}",
            "{n} facts about {subject}",
            "I spent {n} hours on {subject}",
        ),
        description="New videos every week.",
        call="Thanks for watching! More here:",
    ),
    "es": Language(
        weight=0.16,
        countries=("ES", "MX", "AR"),
        channel_names=("Hoy: {subject}", "{subject} con Lucía", "Todo {subject}"),
        subjects=(
            "la cocina",
            "el fútbol",
            "el ajedrez",
            "la guitarra",
            "los viajes",
            "la ciencia",
            "la historia",
        ),
        phrases=(
            "Todo sobre {subject}",
            "Mi opinión sobre {subject}",
            "Un día con {subject}",
            "La verdad sobre {subject}",
        ),
        questions=("¿Vale la pena {subject}?", "¿Por qué gusta tanto {subject}?"),
        numbered=("{n} errores con {subject}", "{n} cosas sobre {subject}"),
        description="Vídeos nuevos cada semana.",
        call="¡Gracias por ver el vídeo! Más aquí:",
    ),
    "pt": Language(
        weight=0.12,
        countries=("BR", "PT"),
        channel_names=("Canal {subject}", "{subject} todo dia"),
        subjects=("futebol", "violão", "receitas", "carros", "viagem", "tecnologia", "pesca"),
        phrases=(
            "Tudo sobre {subject}",
            "Minha opinião sobre {subject}",
            "Testei {subject} por uma semana",
        ),
        questions=("Vale a pena: {subject}?", "Por que todo mundo fala de {subject}?"),
        numbered=("{n} erros de {subject}", "{n} dicas de {subject}"),
        description="Vídeo novo toda semana.",
        call="Obrigado por assistir! Mais aqui:",
    ),
    "de": Language(
        weight=0.1,
        countries=("DE", "AT", "CH"),
        channel_names=("{subject} erklärt", "Werkstatt {subject}"),
        subjects=("Technik", "Kochen", "Schach", "Fußball", "Garten", "Geschichte", "Fotografie"),
        phrases=("Alles über {subject}", "Ein Tag voller {subject}", "Die Wahrheit über {subject}"),
        questions=("Lohnt sich {subject} noch?", "Warum lieben alle {subject}?"),
        numbered=("{n} Fehler beim Thema {subject}", "{n} Tipps: {subject}"),
        description="Jede Woche neue Videos.",
        call="Danke fürs Zuschauen! Mehr dazu:",
    ),
    "hi": Language(
        weight=0.12,
        countries=("IN",),
        channel_names=("{subject} की दुनिया", "रोज़ {subject}"),
        subjects=("क्रिकेट", "खाना", "संगीत", "विज्ञान", "यात्रा", "खेती"),
        phrases=("{subject} के बारे में सब कुछ", "{subject} का सच", "एक दिन {subject} के साथ"),
        questions=("क्या {subject} सही है?", "{subject} इतना पसंद क्यों?"),
        numbered=("{subject} की {n} बातें", "{subject} में {n} गलतियाँ"),
        description="हर हफ़्ते नया वीडियो।",
        call="देखने के लिए धन्यवाद!",
    ),
    "ja": Language(
        weight=0.08,
        countries=("JP",),
        channel_names=("{subject}チャンネル", "毎日{subject}"),
        subjects=("料理", "将棋", "ギター", "鉄道", "釣り", "ゲーム", "写真"),
        phrases=("{subject}のすべて", "{subject}を一週間試してみた", "【解説】{subject}の真実"),
        questions=("{subject}は本当に必要？", "なぜ{subject}が人気なのか？"),
        numbered=("{subject}の失敗{n}選", "{subject}について知るべき{n}のこと"),
        description="毎週新しい動画を公開しています。",
        call="ご視聴ありがとうございます！",
    ),
}

_EMOJI = ("🔥", "😱", "🎉", "🚀", "❤️", "👀", "🎸", "⚽")
_NUMBERS = (3, 5, 7, 10, 12, 24, 50, 100)
_SEPARATORS = (" | ", " - ", ": ")


def title(language: str, style: Style, is_short: bool, key: str) -> str:
    """Write the title of a video; the same key always gives the same one."""
    dice, words = random.Random(key), LANGUAGES[language]
    subject = dice.choice(words.subjects)
    plain = words.numbered if style.number else words.phrases
    pattern = words.questions if style.question else plain
    text = dice.choice(pattern).format(subject=subject, n=dice.choice(_NUMBERS))
    if not style.question and dice.random() < 0.3:
        text += dice.choice(_SEPARATORS) + f"#{dice.randrange(1, 200)}"
    if style.capitals:
        text = text.upper()
    if style.emoji:
        text = f"{text} {dice.choice(_EMOJI)}"
    return f"{text} #shorts" if is_short and dice.random() < 0.6 else text[:1].upper() + text[1:]


def description(language: str, title_: str, handle: str, key: str) -> str:
    """Write a description: a line or several, some with links and hashtags, some empty."""
    dice, words = random.Random(key + "/description"), LANGUAGES[language]
    if dice.random() < 0.06:
        return ""
    lines = [title_, "", words.call, f"https://www.youtube.com/{handle}"]
    for number in range(dice.randrange(4)):
        lines.append(f"https://example.com/{dice.randrange(10_000)}/{number}")
    for minute in range(dice.randrange(5)):
        lines.append(f"{minute * 2:02d}:{dice.randrange(60):02d} {dice.choice(words.subjects)}")
    subjects = dice.sample(words.subjects, dice.randrange(4))
    lines.append(" ".join(f"#{subject.replace(' ', '')}" for subject in subjects))
    return "\n".join(lines).strip()


def tags(language: str, key: str) -> tuple[str, ...]:
    """Choose the tags of a video; none for some, which the API then leaves out."""
    dice, words = random.Random(key + "/tags"), LANGUAGES[language]
    return tuple(dice.sample(words.subjects, dice.randrange(len(words.subjects))))
