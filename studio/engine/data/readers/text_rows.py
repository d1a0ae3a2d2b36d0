"""Rows from plain text and Markdown: each line, each paragraph, or the whole document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import Literal, TypeAlias

from studio.engine.data.readers.base import Broken, Row
from studio.engine.data.readers.lines import Line, TextFile
from studio.engine.data.report import Remark

Unit: TypeAlias = Literal["line", "paragraph", "document"]

_CHOICES = {"paragraph": Remark("each_paragraph"), "document": Remark("each_document")}
_MARKED_UP = (".md", ".markdown", ".mdx", ".rst", ".adoc", ".tex")
_FENCE = re.compile(r"^(```|~~~)", re.MULTILINE)
_SENTENCE_END = tuple(".!?…:;\"'”’»)]。！？」』）")
_LONGEST_PARAGRAPH = 40  # lines, on average; longer blocks are lists, parted by blank lines now and then
_CHARACTERS = 2**20
"""A longer paragraph or document becomes several rows, cut at a blank line or, where there is none, at a line end."""


def read_text(file: TextFile, unit: Literal["auto", "line", "paragraph", "document"]) -> Iterator[Row | Broken]:
    """Yield the rows of a text file. Blank lines at the ends of a row and its last line end are left out."""
    chosen = unit_of(file.path.suffix.lower(), file.head) if unit == "auto" else unit
    if chosen == "line":
        for line in file.lines():
            if isinstance(line, Broken):
                yield line
            elif line.text.strip():
                yield _row([line])
        return
    notes = (_CHOICES[chosen],) if unit == "auto" else ()
    lines: list[Line] = []
    size = 0
    for line in file.lines():
        if isinstance(line, Broken):
            yield line
            continue
        is_blank = not line.text.strip()
        if lines and ((is_blank and (chosen == "paragraph" or size > _CHARACTERS)) or size > 2 * _CHARACTERS):
            yield _row(lines, notes)
            lines, size = [], 0
        if lines or not is_blank:
            lines.append(line)
            size += len(line.text)
    if lines:
        yield _row(lines, notes)


def unit_of(suffix: str, head: str) -> Unit:
    """Return what a row of a file most likely is.

    Args:
        suffix: of the file's name, in lower case.
        head: the beginning of its text.
    """
    if suffix in _MARKED_UP or _FENCE.search(head):
        return "document"
    blocks = _blocks(head.splitlines())
    if not blocks:
        return "line"
    lines_per_block = sum(map(len, blocks)) / len(blocks)
    if len(blocks) > 1 and 1.5 <= lines_per_block <= _LONGEST_PARAGRAPH:
        return "paragraph"
    return "document" if lines_per_block > 1 and _is_wrapped(blocks) else "line"


def _blocks(lines: Iterable[str]) -> list[list[str]]:
    """Return the runs of lines between blank lines."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line.strip())
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _is_wrapped(blocks: list[list[str]]) -> bool:
    """Return whether lines end where a margin was reached: in mid-sentence, and nearly all at the same length."""
    pairs = [pair for block in blocks for pair in pairwise(block)]
    inner = [len(line) for line, _ in pairs]
    if not inner or not 20 <= median(inner) <= 120 or median(inner) < 0.7 * max(inner):
        return False
    going_on = sum(
        not line.endswith(_SENTENCE_END) and after[0].isalpha() and not after[0].isupper() for line, after in pairs
    )
    return going_on > len(pairs) / 3


def _row(lines: list[Line], notes: tuple[Remark, ...] = ()) -> Row:
    last = max(place for place, line in enumerate(lines) if line.text.strip())
    text = "".join(line.text for line in lines[: last + 1]).rstrip("\r\n")
    return Row(lines[0].number, {"text": text}, notes)
