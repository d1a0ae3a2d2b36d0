"""Text of strangers, such as a file's name, in which nothing acts: neither on a terminal nor on the text around it."""

from __future__ import annotations

import re

# Control characters, marks that turn the direction of all that follows, and halves of surrogate pairs. Left alone are
# the joiners and marks that writing in some languages needs.
_ACTING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_ANYWHERE = re.compile(f"[{_ACTING}]")
_IN_LINE = re.compile(f"[{_ACTING}\t\n]")

_LONG = re.compile(r"[^\s/\\.\-]{60}")


def visible(text: str) -> str:
    """Return a text with such characters written out, such as `\\x1b`. Ends of lines and tabs stay."""
    return _ANYWHERE.sub(_written_out, text)


def in_line(text: str) -> str:
    """Return a text as `visible` does, and on one line."""
    return _IN_LINE.sub(_written_out, text)


def breakable(text: str) -> str:
    """Return a text in which a word that no line would hold can be broken."""
    return _LONG.sub("\\g<0>\N{ZERO WIDTH SPACE}", text)


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode()
