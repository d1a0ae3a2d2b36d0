"""What a short answer claims, for answers that contradict each other."""

from __future__ import annotations

import re

_YES = frozenset(
    ("yes", "yeah", "true", "correct", "ja", "oui", "si", "sí", "sim", "да", *["是", "是的", "对", "对的", "正确"])
)
_NO = frozenset(
    ("no", "nope", "false", "incorrect", "nein", "non", "não", "нет", *["否", "不", "不是", "不对", "错", "错误"])
)
_SILENT = re.compile(r"\d+|\b(?:not|no|never|yes|true|false|cannot|nicht|kein|keine|pas)\b|n't\b|[不没未]")
_FIRST = re.compile(r"[^\W\d_]+")
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")


def stance(answer: str) -> int:
    """Return 1 for a normal text that begins with a yes, -1 for one that begins with a no, and otherwise 0."""
    first = _FIRST.match(answer)
    word = first[0] if first else ""
    return int(word in _YES) - int(word in _NO)


def claim(answer: str) -> str:
    """Return a normal text without its numbers, and without yes, no and not."""
    return " ".join(_SILENT.sub(" ", answer).split())


def words(answer: str) -> int:
    """Return the number of words of a normal text; in Chinese, Japanese and Korean characters count."""
    return len(_CJK.sub(" ", answer).split()) + len(_CJK.findall(answer))
