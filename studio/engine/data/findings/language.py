"""The language of a text, from its script and, within the Latin one, from its most frequent small words."""

from __future__ import annotations

import re

from studio.engine.data.findings.prose import outside_fences

_SCRIPTS = {
    "ja": "\u3040-\u30ff",
    "zh": "\u4e00-\u9fff",
    "ko": "\uac00-\ud7af",
    "ru": "\u0400-\u04ff",
    "ar": "\u0600-\u06ff",
    "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "th": "\u0e00-\u0e7f",
    "he": "\u0590-\u05ff",
    "el": "\u0370-\u03ff",
}
_SMALL_WORDS = {
    "en": "the and is of to that with for was are this you it not have can which from they be",
    "de": "der die das und ist nicht ein eine mit für auf den von sie wird auch sich dem werden oder",
    "fr": "les des est une dans pour que qui avec pas vous nous sur sont plus ce cette du et il",
    "es": "el los las una con para por del está como pero más son se lo su esta y muy también",
    "pt": "uma não com para por do da em você mais os são como ao também isso seu é dos pela",
    "it": "gli che una per con del della non sono è di anche più nel alla questo come il si delle",
    "nl": "het een van niet voor met zijn dat de en wordt ook naar maar deze kan worden door bij uit",
}
LANGUAGES = ("", *_SMALL_WORDS, *_SCRIPTS)
_RUNS = {name: re.compile(f"[{letters}]") for name, letters in _SCRIPTS.items()}
_WORDS = {name: frozenset(words.split()) for name, words in _SMALL_WORDS.items()}
_LATIN = re.compile(r"[a-z\u00df-\u024f]+")
_READ = 400  # characters
_ENOUGH_WORDS = 4  # different small words
_ENOUGH_LETTERS = 12
_ASKED = re.compile(
    r"translat|übersetz|tradu|перевед|翻译|译成|用\w文|语怎么说|文怎么说|"
    r"\b(?:english|german|french|spanish|portuguese|italian|dutch|russian|chinese|japanese|korean|arabic|hindi|"
    r"deutsch|englisch|französisch|anglais|français|inglés|español)\b|[英中法德日韩俄]文|[英汉法德日韩俄]语",
    re.IGNORECASE,
)


def asks_for_a_language(question: str) -> bool:
    """Return whether a question names a language, or asks for a translation."""
    return _ASKED.search(question) is not None


def language(text: str) -> int:
    """Return the language of the prose in a text as its place in `LANGUAGES`; 0 where it is short, mixed or unknown.

    Letters of another script than the Latin one decide as soon as they are a fifth of all: Chinese texts have many
    Latin names, but hardly the other way round. Code in fences does not count.
    """
    prose = outside_fences(text[:_READ]).casefold()
    latin = _LATIN.findall(prose)
    if not prose.isascii():
        counts = {name: len(run.findall(prose)) for name, run in _RUNS.items()}
        most = "ja" if counts["ja"] * 10 > counts["zh"] else max(counts, key=lambda name: counts[name])
        if counts[most] >= _ENOUGH_LETTERS and counts[most] * 5 >= sum(map(len, latin)) + counts[most]:
            return LANGUAGES.index(most)
        if counts[most]:
            return 0
    used = set(latin)
    hits = sorted(((len(used & words), name) for name, words in _WORDS.items()), reverse=True)
    clear = hits[0][0] >= max(_ENOUGH_WORDS, 2 * hits[1][0])
    return LANGUAGES.index(hits[0][1]) if clear else 0
