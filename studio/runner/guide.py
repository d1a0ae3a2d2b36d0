"""The guide: chapters in Markdown and a glossary, in the language of the session, all of them files of the app.

A heading carries its anchor, `## LoRA {#lora}`, the same in every language. A link names a chapter and an anchor,
`[LoRA](methods.md#lora)`, without the number by which the files are ordered. A line `{{name}}` stands for what the
reader's program puts there: `{{glossary}}` and `{{commands}}`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from studio.files import read_text
from studio.i18n import LANGUAGES, language, tr
from studio.paths import resource

HEADING = re.compile(r"^(#{1,3}) (.+?) \{#([a-z-]+)\}$", re.MULTILINE)
TOP = "top"
"""The anchor of a chapter's title."""


@dataclass(frozen=True)
class Heading:
    """A heading: 1 is that of the chapter. `text` is what stands between it and the next one, in Markdown."""

    level: int
    title: str
    anchor: str
    text: str


@dataclass(frozen=True)
class Chapter:
    """One file of the guide; `name` is that of the file without number and ending."""

    name: str
    headings: tuple[Heading, ...]

    @property
    def title(self) -> str:
        return self.headings[0].title


@dataclass(frozen=True)
class Term:
    """A term of the field, explained in one sentence; `options` are the keys of settings that it is about."""

    name: str
    sentence: str
    options: tuple[str, ...]


def guide_folder(of: str | None = None) -> Path:
    """Return the folder of the guide in a language, that of the session unless given; English where there is none."""
    spoken = of or language()
    return resource("guide", spoken if spoken in LANGUAGES else "en")


def chapters(of: str | None = None) -> tuple[Chapter, ...]:
    """Return the chapters in their order, in the language of the session unless another is given."""
    return tuple(
        Chapter(file.stem.partition("-")[2], tuple(_headings(read_text(file))))
        for file in sorted(guide_folder(of).glob("*.md"))
    )


def chapter_text(chapter: Chapter, insertions: Mapping[str, str]) -> str:
    """Return a chapter in plain Markdown, with what stands for `{{name}}` put in."""
    parts = (f"{'#' * one.level} {one.title}\n\n{one.text}" for one in chapter.headings)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: insertions[found[1]], "\n\n".join(parts))


def glossary_text() -> str:
    """Return the glossary in Markdown, by term in the order of the language."""
    terms = sorted(glossary(), key=lambda term: term.name.casefold())
    return "\n\n".join(f"**{term.name}**: {term.sentence}" for term in terms)


def glossary(of: str | None = None) -> tuple[Term, ...]:
    """Return all terms, in the language of the session unless another is given."""
    spoken = of or language()
    found = ((entry.get(spoken, entry["en"]), entry.get("options", ())) for entry in _glossary_file())
    return tuple(Term(name, sentence, tuple(options)) for (name, sentence), options in found)


def sentence_of(option: str) -> str:
    """Return the term that a setting is about with its sentence; empty where the glossary has none for it."""
    found = next((term for term in glossary() if option in term.options), None)
    return tr("{name}: {detail}").format(name=found.name, detail=found.sentence) if found else ""


@lru_cache
def _glossary_file() -> list[dict[str, Any]]:
    terms: list[dict[str, Any]] = tomllib.loads(read_text(resource("guide", "glossary.toml")))["terms"]
    return terms


def _headings(text: str) -> Iterator[Heading]:
    found = list(HEADING.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    for match, end in zip(found, ends, strict=True):
        yield Heading(len(match[1]), match[2], match[3], text[match.end() : end].strip())
