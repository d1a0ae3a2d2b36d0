"""The prose of a text: what is left of it without code."""

from __future__ import annotations

import re

_FENCED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_CODE = re.compile(
    r"[;{}]\s*$|^\s*(?:def|class|import|from|return|const|let|var|public|private|#include|<\?|\{%)\b|</\w|\{%|=>|"
    r"\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE)\b.*\b(?:FROM|INTO|SET|TABLE)\b|\w\(.*\)\s*[:;{]?\s*$",
    re.MULTILINE,
)


def outside_fences(text: str) -> str:
    """Return text without code in backquotes."""
    return _FENCED.sub(" ", text)


def prose(text: str) -> str:
    """Return text without code in backquotes; nothing of a text that has lines of code without them."""
    outside = outside_fences(text)
    return "" if _CODE.search(outside) else outside
