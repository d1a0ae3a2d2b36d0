"""Which older encoding a text most likely has: the one in which its bytes read as words."""

from __future__ import annotations

import re
import unicodedata

# In each, the script that its text is written in, as the beginning of the Unicode names of its letters. Of two that fit
# equally well the first one is named first.
_ENCODINGS = {
    "cp1252": ("LATIN",),
    "euc_kr": ("HANGUL",),
    "gb18030": ("CJK",),
    "big5": ("CJK",),
    "shift_jis": ("CJK", "HIRAGANA", "KATAKANA"),
    "cp1251": ("CYRILLIC",),
    "koi8_r": ("CYRILLIC",),
    "cp1250": ("LATIN",),
    "cp1253": ("GREEK",),
}
_COMMON = {"gb18030": "gb2312"}  # what nearly all text is written with
_SIGNS = frozenset("‘’‚“”„–—…•«»°€£§©®¿¡·、。，！？：；（）「」『』《》")
_WORD = re.compile(r"[^\W\d_]+")
_CHARACTERS = 20_000
_GOOD = 0.5


def likely_encodings(raw: bytes) -> list[str]:
    """Return the encodings, three at most, in which bytes read as words, the likeliest first."""
    scores = {name: _readable(raw[:_CHARACTERS], name) for name in _ENCODINGS}
    best = max(scores.values())
    fitting = [name for name, score in scores.items() if score > 0 and score >= _GOOD * best]
    return sorted(fitting, key=lambda name: -scores[name])[:3]


def _readable(raw: bytes, encoding: str) -> float:
    """Return the share of the characters outside ASCII that are signs, or letters of words that could be words."""
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    foreign = [character for character in text if character > "\x7f"]
    good = sum(character in _SIGNS for character in foreign)
    for word in _WORD.findall(text):
        good += _letters(word, encoding)
    return good / max(1, len(foreign))


def _letters(word: str, encoding: str) -> int:
    """Return how many letters of a word are outside ASCII; 0 for a word that nobody writes so."""
    letters = [letter for letter in word if letter > "\x7f"]
    scripts = _ENCODINGS[encoding]
    if not letters or not all(unicodedata.name(letter, "").startswith(scripts) for letter in letters):
        return 0
    if scripts == ("LATIN",):
        # Most letters of Latin words are in ASCII; letters do not become capitals within a word.
        plausible = len(letters) <= len(word) - len(letters) + 1
    elif scripts in (("CYRILLIC",), ("GREEK",)):
        plausible = len(letters) == len(word)
    else:
        common = word.encode(_COMMON.get(encoding, encoding), "ignore").decode(_COMMON.get(encoding, encoding))
        return sum(letter > "\x7f" for letter in common) if len(letters) == len(word) else 0
    is_word = word in (word.lower(), word.upper(), word.capitalize(), word.title())
    return len(letters) if plausible and is_word else 0
