"""The guide has the same chapters, headings and links in both languages, and needs nothing beyond its own files."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from studio.config import RunConfig, options
from studio.engine.methods import METHODS
from studio.files import read_text
from studio.i18n import LANGUAGES, set_language
from studio.runner.guide import chapter_text, chapters, glossary, guide_folder, sentence_of
from studio.ui.actions import PAGES

LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)]*)\)")
INSERTIONS = {"commands": "", "glossary": ""}


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_have_the_same_chapters_and_headings(language: str) -> None:
    def outline(of: str) -> list[tuple[str, list[tuple[int, str]]]]:
        return [(one.name, [(heading.level, heading.anchor) for heading in one.headings]) for one in chapters(of)]

    assert outline(language) == outline("en")
    lines = [line for file in guide_folder(language).glob("*.md") for line in read_text(file).splitlines()]
    headings = sum(len(chapter.headings) for chapter in chapters(language))
    assert sum(line.startswith("#") for line in lines) == headings, "a heading has no {#anchor}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_have_the_same_tables_lists_and_insertions(language: str) -> None:
    def marks(of: str) -> list[list[tuple[int, int, list[str]]]]:
        return [
            [
                (heading.text.count("\n- "), heading.text.count("\n|"), re.findall(r"\{\{\w+\}\}", heading.text))
                for heading in chapter.headings
            ]
            for chapter in chapters(of)
        ]

    assert marks(language) == marks("en")


def test_every_page_has_a_chapter() -> None:
    assert set(PAGES) <= {chapter.name for chapter in chapters("en")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_leads_to_a_heading_and_every_image_is_a_file_of_the_guide(language: str) -> None:
    places = {(one.name, heading.anchor) for one in chapters(language) for heading in one.headings}
    found = 0
    for chapter in chapters(language):
        for image, target in LINK.findall(chapter_text(chapter, INSERTIONS)):
            found += 1
            name, _, anchor = target.partition("#")
            if image:
                assert (guide_folder(language) / target).is_file(), target
            else:
                assert (name.removesuffix(".md") or chapter.name, anchor or "top") in places, target
    assert found
    assert not [file for file in guide_folder(language).iterdir() if "http" in file.read_text("utf-8")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_links_are_the_same_in_all_languages(language: str) -> None:
    def links(of: str) -> Counter[str]:
        return Counter(target for one in chapters(of) for _, target in LINK.findall(chapter_text(one, INSERTIONS)))

    assert links(language) == links("en")


def test_every_term_has_a_name_and_one_sentence_in_every_language() -> None:
    for language in LANGUAGES:
        terms = glossary(language)
        assert len({term.name for term in terms}) == len(terms)
        assert not [term.name for term in terms if term.sentence[-1] not in ".。"]
    english, chinese = glossary("en"), glossary("zh_CN")
    assert not [one.name for one, other in zip(english, chinese, strict=True) if one.sentence == other.sentence]


def test_every_option_of_a_term_is_a_setting() -> None:
    sections = [field.annotation for name, field in RunConfig.model_fields.items() if name != "method"]
    classes = [*sections, *(method.config for method in METHODS)]
    known = {spec.key for one in classes for spec in options(one)}  # type: ignore[arg-type]
    named = [option for term in glossary("en") for option in term.options]
    assert set(named) <= known
    assert len(named) == len(set(named))


def test_a_term_is_told_in_the_language_of_the_session() -> None:
    assert sentence_of("rank").startswith("Rank: ")
    set_language("zh_CN")
    assert sentence_of("rank").startswith("秩")
    assert sentence_of("no such setting") == ""
